from django.apps import AppConfig


class BankingConfig(AppConfig):
    name = "examples.banking"
    label = "banking"
    verbose_name = "Example: banking"

    def ready(self) -> None:
        # Registers the plan, so that the workers know it, and what is audited.
        from examples.banking import audit, saga  # noqa: F401
