from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SagasConfig(AppConfig):
    name = "sagas"

    def ready(self) -> None:
        # Registers what is checked at the start and every minute, and what is done again and again.
        from sagas import bulk, checks, invariants, lifecycle  # noqa: F401
        from sagas.choreography import retention  # noqa: F401
        from sagas.monitoring import alerts, tally  # noqa: F401
        from sagas.roles import make_roles

        # After the permissions are made: `django.contrib.auth` stands before us.
        post_migrate.connect(make_roles)
