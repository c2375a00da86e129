"""One run: start, break under load, heal, wait until all is at rest, judge, report, leave nothing behind."""

import json
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import evidence, verdict
from tests.chaos.nemesis import LATEST_ACT, Nemesis
from tests.chaos.shoppers import ERRANDS, Shoppers
from tests.chaos.tally import Tally
from tests.chaos.wishes import SCARCE, STOCK
from tests.chaos.world import WEATHER, ChaosFailed, World, wait_until

REST_SECONDS = 240.0
# A run in which hardly an order came through has shown nothing.
LEAST_CONFIRMED = 0.2
# In a shorter run of a slow machine no parcel may come back in time.
LONG_ENOUGH_FOR_ERRANDS = 60


@dataclass
class Options:
    seconds: float = 60
    seed: int = 1
    orders_per_second: float = 5
    workers: int = 2
    report: Path | None = None
    quiet: bool = False


@dataclass
class Result:
    options: Options
    tally: Tally
    violations: list[str] = field(default_factory=list)
    suspended: list[dict[str, Any]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    clients: dict[str, int] = field(default_factory=dict)
    seconds_to_rest: float | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def passed(self) -> bool:
        return not self.violations

    def to_json(self) -> dict[str, Any]:
        return {
            "seed": self.options.seed,
            "seconds": self.options.seconds,
            "orders per second": self.options.orders_per_second,
            "workers": self.options.workers,
            "passed": self.passed,
            "violations": self.violations,
            "suspended": self.suspended,
            "seconds to rest after healing": self.seconds_to_rest,
            "faults": self.tally.to_json(),
            "also": dict(self.tally.extra),
            "clients": self.clients,
            "numbers": self.numbers,
            "timeline": self.tally.timeline,
            **({"evidence": self.evidence} if self.evidence else {}),
        }


def chaos(options: Options) -> Result:
    """Carry a run out. Its folder, with the log of all parts, is kept only when something was wrong."""
    folder = Path(tempfile.mkdtemp(prefix="shop-chaos-"))
    folder.chmod(0o755)
    result = Result(options, Tally(quiet=options.quiet), folder=folder)
    world = World(folder / "data", options.workers)
    try:
        world.start()
        _run(world, result)
    except ChaosFailed as failure:
        result.violations.append(str(failure))
    except WEATHER as error:
        result.violations.append(f"after healing something was still away: {type(error).__name__}: {error}")
    finally:
        left = world.stop()
    if left:
        result.violations.append(f"processes are left: {left}")
    path = options.report or Path(tempfile.gettempdir()) / f"shop-chaos-{options.seed}.json"
    path.write_text(json.dumps(result.to_json(), indent=1, default=str))
    result.tally.note(f"report: {path}")
    if result.passed:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        result.tally.note(f"the log and the data are kept in {folder}")
    return result


def _run(world: World, result: Result) -> None:
    options, tally = result.options, result.tally
    stock_shelves(world)
    before = verdict.stock_before(world)
    tally.note(f"seed {options.seed}: the shop is open on port {world.port}, stock {before}")
    shoppers = Shoppers(world, options.seed, options.orders_per_second)
    nemesis = Nemesis(world, tally, options.seed)
    shoppers.start()
    try:
        nemesis.run(options.seconds)
    finally:
        shoppers.stop_placing()
        nemesis.heal()
    healed_at, healed = time.time(), time.monotonic()
    if not wait_until(world.all_run, 60):
        result.violations.append(f"not every part runs again: {world.parts()}")
    shoppers.hear_answers(30)
    time.sleep(max(0.0, healed + LATEST_ACT + 1 - time.monotonic()))
    if wait_until(lambda: verdict.live_sagas(world) == 0, REST_SECONDS, pause=0.25):
        result.seconds_to_rest = round(time.monotonic() - healed, 1)
        tally.note(f"all at rest {result.seconds_to_rest} s after healing")
    result.violations += verdict.violations(world, shoppers, before)
    result.suspended = verdict.suspended(world)
    result.clients = shoppers.counts()
    result.numbers = evidence.numbers(world, options.seconds, healed_at)
    result.violations += _hollow(result)
    if result.violations or result.suspended:
        result.evidence = evidence.stuck_sagas(world)


def _hollow(result: Result) -> list[str]:
    """What makes a green run worthless: a kind of fault that never struck, or a shop that hardly sold."""
    found = [f"the fault {kind!r} did not happen, or had no effect" for kind in result.tally.missing()]
    confirmed = sum(result.numbers["orders"].get(status, 0) for status in verdict.SENT)
    accepted = result.clients["orders accepted"]
    if confirmed < LEAST_CONFIRMED * max(accepted, 1):
        found.append(f"only {confirmed} of {accepted} orders were confirmed")
    if result.options.seconds >= LONG_ENOUGH_FOR_ERRANDS:
        done = (*(f"{what} accepted" for what in ERRANDS), "returns inspected")
        found += [f"nothing was counted as {what!r}" for what in done if not result.clients[what]]
    return found


def stock_shelves(world: World) -> None:
    """Plenty of some, and of the scarce ones what the demonstration has."""
    plenty = {sku: units for sku, units, _ in STOCK if sku not in SCARCE}
    done = world.manage(
        "shell",
        "-c",
        f"from inventory import services\nfor sku, units in {plenty!r}.items():"
        "\n    services.receive(sku, units, note='for the chaos run')",
    )
    if done.returncode:
        raise ChaosFailed(f"the shelves could not be filled: {done.stderr[-500:]}")
