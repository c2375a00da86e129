"""`verify`: proves a saga by breaking it at every boundary.

The boundaries are found by running the scenario once. Each case rebuilds the world, forks a worker
that runs into one disturbance at one boundary, lets clean workers carry on, and checks everything.
What only they pass, such as the end of a lease or a question to the other side, is broken after that.
"""

import random
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from time import monotonic
from typing import Any

from django.db import connection

from sagas import services
from sagas.definition import Saga
from sagas.failpoints import refuse_in_production
from sagas.models import SagaInstance, Signal
from sagas.outcomes import Refused
from sagas.states import TERMINAL, SagaStatus
from sagas.steps import LateSignal
from sagas.testing.boundaries import Boundary, Saboteur, Trigger
from sagas.testing.disturbances import DISTURBANCES, NAMES, Disturbance
from sagas.testing.proof import Case, Proof
from sagas.testing.sample import drawn
from sagas.testing.ways import Second, Way, ends_of, never_passed, refusal
from sagas.testing.witness import Witness, World, engine_violations, world_violations
from sagas.testing.workers import Child, drive, let_time_pass, no_survivors, settle

Invariant = Callable[[], Iterable[object]]

# How often a case may wait for a lease, a backoff or a timer before it counts as stuck.
ROUNDS = 15
# A pair's second disturbance strikes the worker that carries on, at one of its first places.
SECOND_WITHIN = 25
# What pairs are made of, and what strikes a recovery, unless ``disturbances`` leaves both out.
IN_PAIRS = ("kill", "pause")

_FORGET = (
    "DELETE FROM sagas_lockwaiter WHERE saga_id = ANY(%(sagas)s)",
    "DELETE FROM sagas_semanticlock WHERE saga_id = ANY(%(sagas)s)",
    "DELETE FROM sagas_operation WHERE saga_id = ANY(%(sagas)s)",
    "DELETE FROM sagas_sagaevent WHERE saga_id = ANY(%(sagas)s)",
    "DELETE FROM sagas_stepattempt WHERE saga_id = ANY(%(sagas)s)",
    "DELETE FROM sagas_sagastep WHERE saga_id = ANY(%(sagas)s)",
    "DELETE FROM sagas_signal WHERE NOT id = ANY(%(signals)s)",
    "UPDATE sagas_sagainstance SET caused_by_id = NULL WHERE id = ANY(%(sagas)s)",
    "DELETE FROM sagas_sagainstance WHERE id = ANY(%(sagas)s)",
)


def verify(
    saga: type[Saga[Any]],
    *,
    start: Callable[[], object],
    world: World,
    invariants: Sequence[Invariant] = (),
    disturbances: Collection[str] = NAMES,
    ways: Collection[str] = ("forward", "back"),
    share: float = 1.0,
    pairs: int = 0,
    seed: int | None = None,
    rounds: int = ROUNDS,
    keep_going: bool = True,
) -> Proof:
    """Run ``saga`` once per boundary and disturbance, and raise `AssertionError` with the matrix if anything is wrong.

    ``start`` starts one saga, and sends the signals that it waits for. It is called again when a
    worker dies in it, as by a client that repeats its request: the second call has to find what the
    first one stored. ``world`` is rebuilt for each case and asked what it saw; ``invariants`` return
    what is wrong. ``disturbances`` are names of `sagas.testing.NAMES`. A ``share`` below 1 runs that part of
    the cases, each disturbance and if possible each boundary at least once; it and ``pairs`` of kills and
    pauses are drawn with ``seed``, which is printed. A boundary that only a recovery passes is killed and paused at
    after what led there. Without ``keep_going`` it ends with the first case that is wrong.

    Needs real commits (``transaction=True``) and a database without other live sagas. It forks, so the
    caller has no other threads, and keeps no connection open to anything that a step calls.
    """
    refuse_in_production()
    unknown = set(disturbances) - set(NAMES)
    if unknown:
        raise ValueError(f"verify knows no disturbance {sorted(unknown)}. There are: {', '.join(NAMES)}.")
    seed = random.randrange(2**32) if seed is None else seed  # noqa: S311 - repeatable, not secret
    proof = Proof(saga.plan.name, seed)
    verification = _Verification(saga, start, world, tuple(invariants), rounds, proof)
    with no_survivors():
        verification.prepare(ways)
        for case in verification.cases([d for d in DISTURBANCES if d.name in disturbances], share, pairs):
            proof.cases.append(case)
            if case.violations and not keep_going:
                break
    verification.clean_up()
    sys.stdout.write(f"{proof}\n")
    if proof.violations:
        raise AssertionError(str(proof))
    return proof


class _Verification:
    def __init__(
        self,
        saga: type[Saga[Any]],
        start: Callable[[], object],
        world: World,
        invariants: tuple[Invariant, ...],
        rounds: int,
        proof: Proof,
    ) -> None:
        self.saga, self.plan = saga, saga.plan
        self.start, self.world, self.invariants = start, world, invariants
        self.rounds, self.proof = rounds, proof
        self.ways: list[Way] = []
        self.when_completed: Witness | None = None
        # Each boundary that no undisturbed run passes, with the case in which a worker that carried on passed it.
        self.recoveries: dict[Boundary, tuple[Way, Boundary, Disturbance]] = {}
        self.before = set(SagaInstance.objects.values_list("pk", flat=True))
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM sagas_signal")
            self.signals_before = [row[0] for row in cursor.fetchall()]

    def prepare(self, ways: Collection[str]) -> None:
        """Find the boundaries."""
        forward = self.discover(Way("forward", {}))
        if "forward" in ways:
            self.ways.append(forward)
        if "back" in ways and (turn := refusal(self.plan, forward.boundaries)):
            self.ways.append(self.discover(Way("back", {turn: lambda: Refused("refused", "always")})))
        self.proof.boundaries.update({way.name: list(way.boundaries) for way in self.ways})
        self.proof.never_passed = never_passed(self.plan, {here.name for way in self.ways for here in way.boundaries})

    def cases(self, disturbances: list[Disturbance], share: float, pairs: int) -> Iterator[Case]:
        draw = random.Random(self.proof.seed)  # noqa: S311 - repeatable, not secret
        singles = [
            (way, boundary, disturbance)
            for way in self.ways
            for disturbance in disturbances
            for boundary in filter(disturbance.strikes, way.boundaries)
        ]
        if not singles:
            raise AssertionError(
                f"{self.plan.name}: none of these disturbances strikes anywhere, so nothing is proved."
            )
        self.proof.possible = len(singles)
        for single in drawn(singles, share, draw, lambda c: (c[0].name, c[2].name), lambda c: (c[0].name, c[1])):
            yield self.case(*single)
        kinds = [d for d in disturbances if d.name in IN_PAIRS]
        after = [(case, Second(kind, there)) for there, case in self.recoveries.items() for kind in kinds]
        for (way, boundary, trouble), then in drawn(after, share, draw, lambda found: found[1].disturbance.name):
            yield self.case(way, boundary, trouble, then)
        for _ in range(pairs if kinds else 0):
            way = draw.choice(self.ways)
            boundary, first, second = draw.choice(way.boundaries), draw.choice(kinds), draw.choice(kinds)
            yield self.case(way, boundary, first, Second(second, draw.randint(1, SECOND_WITHIN)))

    def clean_up(self) -> None:
        self.forget()
        self.world.rebuild()

    # --- one run ----------------------------------------------------------------------------------

    def discover(self, way: Way) -> Way:
        """Run undisturbed, and see what is passed; on the way back only from where it turns."""
        self.forget()
        self.world.rebuild()
        child = self.worker(way)
        how = child.wait()
        problems = child.broke or ([] if how == "ended" else [f"the worker was {how}"])
        end, reason, found = self.outcome(way)
        problems += found
        if end == SagaStatus.SUSPENDED and not way.standing:
            problems.append(f"it is SUSPENDED: {reason}")
        if problems or not child.passed:
            raise AssertionError(f"{self.plan.name}: the undisturbed run went wrong: {'; '.join(problems)}")
        if not way.standing:
            self.when_completed = self.world.witness()
        passed, turn = child.passed, next(iter(way.standing), None)
        first = next((n for n, here in enumerate(passed) if here.name == turn), 0)
        return Way(way.name, way.standing, tuple(passed[first:]), end)

    def case(self, way: Way, boundary: Boundary, first: Disturbance, second: Second | None = None) -> Case:
        started = monotonic()
        self.forget()
        self.world.rebuild()
        if first.for_ever and first.answer:
            way = Way(way.name, {**way.standing, boundary.name: first.answer}, way.boundaries, way.end)
        problems = list(self.disturbed(way, boundary, first, second))
        end, reason, found = self.outcome(way)
        problems += found
        ends = ends_of(self.plan, first, boundary) or (way.end,)
        if end not in ends:
            problems.append(f"it ended {end or 'without a saga'}, expected {' or '.join(ends)}")
        name = first.name if second is None else f"{first.name}, then {second}"
        seconds = monotonic() - started
        return Case(way.name, boundary, name, end, tuple(problems), reason, seconds, pair=second is not None)

    def disturbed(self, way: Way, boundary: Boundary, first: Disturbance, second: Second | None) -> Iterator[str]:
        """One worker that is disturbed, perhaps a second one, then a clean one; zombies wake up in between."""
        child = self.worker(way, lambda here, count: here == boundary, first)
        workers, frozen = [child], [child] if child.wait() == "stopped" else []
        started = child.has_told("started")
        if second is not None:
            # Of who was only stopped nobody repeats the request.
            started = started or first.others in ("work", "cancel")
            other = self.worker(way, second.strikes, second.disturbance, started=started, others="give up")
            workers.append(other)
            frozen += [other] if other.wait() == "stopped" else []
            started = started or other.has_told("started")
        if not (workers[-1].has_told("rests") and not frozen):
            started = started or first.others in ("work", "cancel")
            clean = self.worker(way, started=started, others=first.others)
            workers.append(clean)
            clean.wait()
        ended = self.versions()
        for zombie in frozen:
            zombie.go_on()
            zombie.wait()
        yield from (f"a zombie changed {what} after its end" for what in self.changed(ended))
        if frozen:
            last = self.worker(way, started=True, others="give up")
            workers.append(last)
            last.wait()
        if not child.has_told("reached"):
            yield f"{boundary} was not reached"
        if second is not None and isinstance(second.place, Boundary) and not workers[1].has_told("reached"):
            yield f"{second.place} was not reached"
        if second is None and first.act is not None and "cancel" not in first.others:
            self.remember_recovery(workers[1:2], (way, boundary, first))
        yield from (f"a worker broke: {words}" for worker in workers for words in worker.broke)

    def remember_recovery(self, carried_on: list[Child], case: tuple[Way, Boundary, Disturbance]) -> None:
        known = {here.name for way in self.ways for here in way.boundaries} | {here.name for here in self.recoveries}
        for here in (here for worker in carried_on for here in worker.passed):
            if here.name not in known:
                known.add(here.name)
                self.recoveries[here] = case

    def worker(
        self,
        way: Way,
        trigger: Trigger | None = None,
        disturbance: Disturbance | None = None,
        *,
        started: bool = False,
        others: str = "",
    ) -> Child:
        """A forked worker: starts the saga if nobody has, and carries on until all rests."""
        saboteur = Saboteur(way.standing)

        def body(child: Child) -> None:
            if disturbance is not None and trigger is not None:
                saboteur.trigger, saboteur.act = trigger, lambda: self.strike(child, disturbance)
            if not started:
                try:
                    self.start()
                except Exception:
                    # Whoever started it gets the error, and asks again.
                    if not saboteur.struck:
                        raise
                    return
            child.tell("started")
            if "cancel" in others:
                self.turn_back()
            if others in ("work", "cancel"):
                drive()
                return
            if others:
                let_time_pass()
            settle(self.rounds)
            child.tell("rests")

        return Child(body, saboteur).start()

    def strike(self, child: Child, disturbance: Disturbance) -> None:
        """At the boundary, in the child."""
        child.tell("reached")
        if disturbance.expires:
            self.pass_deadline()
        elif disturbance.act is not None:
            disturbance.act()
        elif disturbance.answer is not None and not disturbance.for_ever:
            raise disturbance.answer()

    # --- the saga of a case -------------------------------------------------------------------------

    def sagas(self) -> list[SagaInstance]:
        """What this case started, its own saga first."""
        found = SagaInstance.objects.exclude(pk__in=self.before).order_by("created_at")
        return sorted(found, key=lambda saga: saga.definition != self.plan.name)

    def turn_back(self) -> None:
        for saga in self.sagas()[:1]:
            services.turn_back(self.saga, saga.business_key, why="verify cancels")

    def pass_deadline(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE sagas_sagainstance SET deadline_at = clock_timestamp() - interval '1 ms', wake_at ="
                " CASE WHEN wake_at IS NOT NULL THEN clock_timestamp() - interval '1 ms' END WHERE id = ANY(%s)"
                " AND ended_at IS NULL",
                [[saga.pk for saga in self.sagas()[:1]]],
            )

    def versions(self) -> dict[str, int]:
        """Each saga that has ended, with its version, without the one more for each signal that came after its end."""
        late = Counter(
            Signal.objects.filter(late=LateSignal.ATTENTION)
            .exclude(pk__in=self.signals_before)
            .values_list("definition", "business_key")
        )
        return {
            f"{saga.definition} {saga.business_key}": saga.version - late[saga.definition, saga.business_key]
            for saga in self.sagas()
            if saga.status in TERMINAL
        }

    def changed(self, ended: dict[str, int]) -> list[str]:
        now = self.versions()
        return [what for what, version in ended.items() if now.get(what) != version]

    def outcome(self, way: Way) -> tuple[str, str, list[str]]:
        """Where the saga is, why if it is suspended, and everything that is wrong."""
        sagas = self.sagas()
        own = [saga for saga in sagas if saga.definition == self.plan.name]
        end, reason = (own[0].status, own[0].suspend_reason) if own else ("", "")
        problems = list(engine_violations(sagas))
        if len(own) > 1:
            problems.append(f"there are {len(own)} sagas of one start")
        problems += world_violations(self.plan, end, self.world.witness(), self.when_completed)
        problems += [str(wrong) for invariant in self.invariants for wrong in invariant()]
        return end, reason, problems

    def forget(self) -> None:
        """Delete what the last case started; what was there before is left alone."""
        sagas = [saga.pk for saga in self.sagas()]
        with connection.cursor() as cursor:
            for statement in _FORGET:
                cursor.execute(statement, {"sagas": sagas, "signals": self.signals_before})
