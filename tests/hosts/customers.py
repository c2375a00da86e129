"""Processes of the test of several hosts.

``python -m tests.hosts.customers order PACE`` starts errands at an even pace until it is told to stop;
``... ask`` waits, in an open transaction, for an answer that is due while its host is cut off.
"""

import signal
import sys
from time import monotonic, sleep

import django


def order(pace: float) -> None:
    from django.db import transaction

    from sagas.services import start
    from tests.sagas.errands.plan import Errand, ErrandData

    told_to_stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told_to_stop.append(number))
    began, count = monotonic(), 0
    while not told_to_stop:
        with transaction.atomic():
            start(Errand, ErrandData(f"E{count}"), key=f"E{count}")
        count += 1
        sleep(max(0.0, began + count / pace - monotonic()))


def ask() -> None:
    from django.db import Error, connection

    connection.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE test_held SET by = 'us'")
        say("holds")
        asked = monotonic()
        try:
            cursor.execute("SELECT pg_sleep(3)")
        except Error:
            say(f"gave up after {monotonic() - asked:.0f} s")
        else:
            say("was answered")


def say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    django.setup()
    if sys.argv[1] == "ask":
        ask()
    else:
        order(float(sys.argv[2]))
