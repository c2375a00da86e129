"""PostgreSQL parses each check of a table once a statement: the four of a saga become one that says the same."""

import sagas.states
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sagas", "0012_take_up_again"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="sagainstance",
            name="saga_status_is_known",
        ),
        migrations.RemoveConstraint(
            model_name="sagainstance",
            name="saga_ended_waits_for_nothing",
        ),
        migrations.RemoveConstraint(
            model_name="sagainstance",
            name="saga_live_has_a_reason_to_wait",
        ),
        migrations.RemoveConstraint(
            model_name="sagainstance",
            name="saga_suspended_says_why",
        ),
        migrations.AddConstraint(
            model_name="sagainstance",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        (
                            "status__in",
                            [
                                sagas.states.SagaStatus["COMPENSATING"],
                                sagas.states.SagaStatus["PENDING"],
                                sagas.states.SagaStatus["RUNNING"],
                                sagas.states.SagaStatus["WAITING"],
                            ],
                        ),
                        ("suspend_reason", ""),
                        models.Q(("wake_at__isnull", False), ("waiting_on__isnull", False), _connector="OR"),
                    ),
                    models.Q(
                        ("status", sagas.states.SagaStatus["SUSPENDED"]),
                        models.Q(("suspend_reason", ""), _negated=True),
                    ),
                    models.Q(
                        ("ended_at__isnull", False),
                        (
                            "status__in",
                            [
                                sagas.states.SagaStatus["ABANDONED"],
                                sagas.states.SagaStatus["COMPENSATED"],
                                sagas.states.SagaStatus["COMPLETED"],
                            ],
                        ),
                        ("suspend_reason", ""),
                        ("waiting_on__isnull", True),
                        ("wake_at__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="saga_waits_as_its_status_says",
            ),
        ),
    ]
