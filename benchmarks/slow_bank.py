"""`python -m benchmarks.slow_bank`: the same plan with a bank that answers at once and with one that takes 100 ms.

The two take turns on the same two workers, whose memory is looked at after each round. What a slow bank costs is
calls in flight, not processes.
"""

import argparse
import os
import time
from pathlib import Path
from statistics import median

from benchmarks import database, servers
from benchmarks.contenders.ours import STARTERS, Ours
from benchmarks.crew import Crew, serve
from benchmarks.work import Batch

PLANS = ("PromptBankOrder", "SlowBankOrder")


class Banked(Ours):
    """The shipped workers, with starters for each of the two plans.

    What waits longer than five seconds is counted as late and may be left to the sweeper for a moment.
    """

    commands = (*Ours.commands, "saga_sweeper")

    def prepare(self) -> None:
        super().prepare()
        self.crews = {plan: Crew("benchmarks.slow_bank", STARTERS, env={"PLAN": plan}) for plan in PLANS}

    def rate(self, plan: str, batch: Batch) -> float:
        database.empty()
        began = time.monotonic()
        self.crews[plan].run(batch)
        database.wait_for_ends(batch)
        seconds = time.monotonic() - began
        return database.check(batch) / seconds

    def memory_mb(self) -> float:
        """Of the bigger of the workers."""
        page = os.sysconf("SC_PAGE_SIZE")
        return max(int(Path(f"/proc/{w.pid}/statm").read_text().split()[1]) * page / 1e6 for w in self.workers)

    def clean(self) -> None:
        for crew in self.crews.values():
            crew.stop()
        super().clean()


def start_orders() -> None:
    """The starters' side: the plan is named in the environment."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    import django

    django.setup()
    from django.db import transaction

    from benchmarks.shop_app import saga
    from benchmarks.shop_app.steps import Purchase, place_order
    from sagas.services import start

    plan = getattr(saga, os.environ["PLAN"])

    def do(number: str, product: int, quantity: int, cents: int, declined: bool) -> float:
        purchase = Purchase(number, product, quantity, cents, declined)
        with transaction.atomic():
            place_order(purchase)
            start(plan, purchase, key=number)
        return time.time()

    serve(do)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sagas", type=int, default=1_000, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with servers.running():
        engine = Banked()
        database.empty()
        engine.prepare()
        try:
            rates: dict[str, list[float]] = {plan: [] for plan in PLANS}
            memory = []
            for nth in range(asked.rounds + 1):
                for plan in PLANS:
                    seen = engine.rate(plan, Batch(0, asked.sagas))
                    if nth:  # the first round warms up
                        rates[plan].append(seen)
                memory.append(engine.memory_mb())
        finally:
            engine.clean()
    prompt, slow = (rates[plan] for plan in PLANS)
    ratios = [one / other for one, other in zip(slow, prompt, strict=True)]
    grown = (memory[-1] - memory[0]) / (asked.rounds * len(PLANS) * asked.sagas) * 10_000
    print(  # noqa: T201 - what it is for
        f"{median(prompt):.0f} sagas a second with a prompt bank, {median(slow):.0f} with one that takes 100 ms: "
        f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); "
        f"the bigger worker took {memory[0]:.0f} to {memory[-1]:.0f} MB, {grown:+.1f} MB in 10,000 sagas"
    )


if __name__ == "__main__":
    start_orders() if "PLAN" in os.environ else main()
