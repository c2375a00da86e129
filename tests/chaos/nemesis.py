"""Breaks things, from one seed, in three streams: processes, freezes past a lease, the bank and the carrier.

The seed fixes what is done in which order and with which numbers; when it meets what, the machine decides.
"""

import random
import threading
from collections import Counter
from contextlib import suppress

from tests.chaos.processes import LEASE_SECONDS, Processes
from tests.chaos.tally import SERVICE_FAULTS, SERVICES, Tally
from tests.chaos.world import WEATHER, World, is_listening, wait_until

# How often each is drawn once all have been. The servers seldom: `up` waits longer before each start of what
# ends soon after it, and a database that is mostly away tests nothing but waiting.
WEIGHTS = {
    "worker killed": 30,
    "worker paused": 10,
    "sweeper killed": 6,
    "web killed": 2,
    "Valkey emptied": 6,
    "Valkey killed": 2,
    "Valkey down": 2,
    "PostgreSQL stopped at once": 1,
    "PostgreSQL killed": 1,
    "sessions terminated": 6,
    "bank stopped": 1,
    "carrier stopped": 1,
}
FREEZE = "worker frozen past its lease"
# Seconds between two faults at most: more often, and hardly anything is left running that could be broken.
PROCESS_GAP, SERVICE_GAP = 6.0, 2.5
LATEST_ACT = 6.0  # seconds after which no late copy of a call comes any more


class Nemesis:
    """`run` for some seconds, then `heal`."""

    def __init__(self, world: World, tally: Tally, seed: int) -> None:
        self.world, self.tally, self.seed = world, tally, seed
        self.stop = threading.Event()
        self.processes = Processes(world, tally, self._random("workers"), self.stop)
        self._fired: dict[tuple[str, int | None], Counter[str]] = {}  # by service and process

    def _random(self, stream: str) -> random.Random:
        return random.Random(f"{stream} {self.seed}")

    def run(self, seconds: float) -> None:
        streams = [
            threading.Thread(target=self._break_processes, args=[seconds], name="processes"),
            threading.Thread(target=self._break_services, args=[seconds], name="services"),
            threading.Thread(target=self._freeze, args=[seconds], name="freezes"),
        ]
        for stream in streams:
            stream.start()
        timer = threading.Timer(seconds, self.stop.set)
        timer.start()
        try:
            for stream in streams:
                stream.join()
        finally:
            self.stop.set()
            timer.cancel()
            timer.join()
            for stream in streams:
                stream.join()
        self._make_up()

    def _make_up(self) -> None:
        """Once more what was not seen to take effect: a small machine in a bad moment is no reason to fail."""
        self.stop.clear()
        for kind in [*self.processes.faults, FREEZE]:
            if not self.tally.took_effect[kind]:
                with suppress(*WEATHER):
                    self.processes.faults.get(kind, self.processes.freeze_past_lease)()
        for service, fault in self._unseen():
            with suppress(*WEATHER):
                self.world.control(service, fault=fault, times=1, seconds=1)
        # With a backlog and a circuit that has just opened, the next call is a while away.
        wait_until(lambda: not self._unseen(), 60, pause=0.5)
        self.stop.set()

    def heal(self) -> None:
        """Let everything go on; the supervisor has started, or will start, what was killed."""
        self.processes.thaw_all()
        for service in SERVICES:
            if wait_until(lambda service=service: self._collect(service), 30):
                self.world.control(service, fault="reset")
        for (service, _), fired in self._fired.items():
            for fault, times in fired.items():
                if fault in SERVICE_FAULTS:
                    self.tally.add(f"{service} {fault}", times)
        self.tally.note("healed")

    # --- processes ---

    def _break_processes(self, seconds: float) -> None:
        pick = self._random("processes")
        first = list(self.processes.faults)
        pick.shuffle(first)
        # Each kind once within two thirds of the time, then as the weights say, a little faster or slower.
        gap = seconds * 0.55 / len(first)
        while not self.stop.wait(pick.uniform(0.2, 1.0) * gap):
            kind = first.pop() if first else pick.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            try:
                if kind in ("bank stopped", "carrier stopped"):
                    with suppress(*WEATHER):  # it may refuse connections just now, and is stopped all the same
                        self._collect(kind.partition(" ")[0])
                self.processes.faults[kind]()
            except (*WEATHER, LookupError) as error:
                self.tally.count(kind, seen=False, detail=f"{type(error).__name__}: {str(error).strip()[:80]}")
            gap = min(gap, PROCESS_GAP)

    def _freeze(self, seconds: float) -> None:
        """One after the other, as long as there is time for a whole lease."""
        started = threading.Timer(max(seconds - LEASE_SECONDS - 2, 3), lambda: None)
        started.start()
        try:
            while started.is_alive() and not self.stop.is_set():
                try:
                    self.processes.freeze_past_lease()
                except WEATHER as error:
                    self.tally.note(f"no worker could be frozen: {error}")
                self.stop.wait(0.5)
        finally:
            started.cancel()
            started.join()

    # --- the bank and the carrier ---

    def _break_services(self, seconds: float) -> None:
        pick = self._random("services")
        faults = [(service, fault) for service in SERVICES for fault in (*SERVICE_FAULTS, "refuse")]
        first = pick.sample(faults, len(faults))
        gap = seconds * 0.55 / len(first)
        while not self.stop.wait(pick.uniform(0.4, 1.0) * gap):
            service, fault = first.pop(0) if first else pick.choice(self._unseen() or faults)
            try:
                self._refuse(service, pick) if fault == "refuse" else self._misbehave(service, fault, pick)
            except WEATHER as error:
                self.tally.note(f"{service} {fault} could not be set: {error}")
                first.append((service, fault))
            gap = min(gap, SERVICE_GAP)

    def _unseen(self) -> list[tuple[str, str]]:
        """Faults that were set and found no call to strike, or were forgotten when their service was stopped."""
        fired: Counter[tuple[str, str]] = Counter()
        for service in SERVICES:
            with suppress(*WEATHER):
                self._collect(service)
        for (service, _), counts in self._fired.items():
            fired.update({(service, fault): times for fault, times in counts.items()})
        return [(service, fault) for service in SERVICES for fault in SERVICE_FAULTS if not fired[service, fault]]

    def _misbehave(self, service: str, fault: str, pick: random.Random) -> None:
        times = pick.choice([1, 2, 3])
        # A stall beyond the plan's time-out now and then, else one that is only slow.
        stall = pick.choice([1.0, 2.0, 4.0, 22.0])
        seconds = stall if fault == "stall" else pick.uniform(0.2, LATEST_ACT)
        if self.stop.is_set():
            return
        self.world.control(service, fault=fault, times=times, seconds=seconds)
        with_kind = f"{service} {fault}"
        self.tally.tried[with_kind] += 1
        self.tally.note(f"{with_kind}: {times} times" + (f", {seconds:.1f} s" if fault in ("stall", "late") else ""))

    def _refuse(self, service: str, pick: random.Random) -> None:
        seconds = pick.uniform(0.5, 3)
        self.world.control(service, fault="refuse", seconds=seconds)
        away = wait_until(lambda: not is_listening(self.world.outside(service)), 2, pause=0.02)
        self.tally.count(f"{service} refusing", seen=away, detail=f"for {seconds:.1f} s")

    def _collect(self, service: str) -> bool:
        """Note how often the faults that were set have fired: a service that is stopped forgets it."""
        self._fired[service, self.world.running(service)] = Counter(self.world.faults_fired(service))
        return True
