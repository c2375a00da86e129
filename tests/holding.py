"""Writing to what a saga holds, in tests that do not run the saga."""

from django.db import connection

from sagas.models import SemanticLock


def act_for_holder_of(number: str) -> None:
    """From now on to the end of this transaction, write to an order as the saga that holds it."""
    lock = SemanticLock.objects.get(resource_type="shop.order", resource_id=number)
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('sagas.holder', %s, true)", [str(lock.saga_id)])
