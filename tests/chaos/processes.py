"""Faults of processes: killed, frozen, stopped, emptied. Each says whether it was seen to take effect."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable

from tests.chaos.tally import Tally
from tests.chaos.world import WEATHER, World, is_listening, is_running, state_of, wait_until

# A remote attempt's lease: the plan's time-out of 20 s and the engine's margin of 10 s.
LEASE_SECONDS = 30.0
_OPEN_ATTEMPTS = "SELECT count(*) AS n FROM sagas_stepattempt WHERE ended_at IS NULL AND worker LIKE %s"


class Processes:
    def __init__(self, world: World, tally: Tally, pick: random.Random, stop: threading.Event) -> None:
        self.world, self.tally, self.random, self.stop = world, tally, pick, stop
        self.frozen: dict[str, int] = {}
        self.faults: dict[str, Callable[[], None]] = {
            "worker killed": self.kill_worker,
            "worker paused": self.pause_worker,
            "sweeper killed": lambda: self.kill("sweeper", "sweeper killed", signal.SIGKILL),
            "web killed": lambda: self.kill("web", "web killed", signal.SIGKILL),
            "Valkey emptied": self.empty_valkey,
            "Valkey killed": lambda: self.kill("valkey", "Valkey killed", signal.SIGKILL),
            "Valkey down": lambda: self.down("valkey", "Valkey down"),
            # What `pg_ctl stop -m immediate` sends: sessions are cut, nothing is written, recovery follows.
            "PostgreSQL stopped at once": lambda: self.kill("postgres", "PostgreSQL stopped at once", signal.SIGQUIT),
            "PostgreSQL killed": lambda: self.kill("postgres", "PostgreSQL killed", signal.SIGKILL),
            "sessions terminated": self.terminate_sessions,
            "bank stopped": lambda: self.down("bank", "bank stopped"),
            "carrier stopped": lambda: self.down("carrier", "carrier stopped"),
        }

    # --- workers ---

    def kill_worker(self) -> None:
        name, pid = self._worker()
        if not pid:
            self.tally.count("worker killed", seen=False, detail="none was running")
            return
        if self.random.random() < 0.7:
            self._wait_for_call(pid, 2)
        at_work = self._open_attempts(pid)
        os.kill(pid, signal.SIGKILL)
        gone = wait_until(lambda: not is_running(pid), 5, pause=0.02)
        self.tally.extra["workers killed with calls under way"] += bool(at_work)
        self.tally.count("worker killed", seen=gone, detail=f"{name} with {at_work} calls under way")

    def pause_worker(self) -> None:
        """Shorter than a lease, longer than the database waits for a session in a transaction."""
        name, pid = self._worker()
        if not pid:
            self.tally.count("worker paused", seen=False, detail="none was running")
            return
        seconds = self.random.uniform(2, 7)
        seen = self._freeze(name, pid)
        threading.Thread(target=self._thaw_later, args=[name, pid, seconds], name="thaw").start()
        self.tally.count("worker paused", seen=seen, detail=f"{name} for {seconds:.1f} s")

    def freeze_past_lease(self) -> None:
        """Stop a worker with a call under way, let others take its saga over, and let it go on."""
        kind = "worker frozen past its lease"
        name, pid = self._freeze_at_work()
        if not pid:
            return
        self.tally.note(f"{name} is frozen with {self._open_attempts(pid)} calls under way")
        end = time.monotonic() + LEASE_SECONDS + 10
        taken = 0
        while time.monotonic() < end and is_running(pid):
            if taken := self._leases_over(pid):
                break
            if self.stop.wait(0.5):
                end = min(end, time.monotonic() + 8)
        # A little longer, so that somebody else is well under way when it comes back.
        time.sleep(self.random.uniform(0, 3))
        alive = is_running(pid)
        self._thaw(name, pid)
        self.tally.count(kind, seen=bool(taken and alive), detail=f"{name}; {taken} of its attempts were taken over")

    def _freeze_at_work(self) -> tuple[str, int]:
        """Freeze a worker in the middle of a call: one whose call ended just before goes on, and is tried again."""
        for _ in range(20):
            name, pid = self._worker(at_work=True)
            if not pid or (self._freeze(name, pid) and self._open_attempts(pid)):
                return name, pid
            self._thaw(name, pid)
        return "", 0

    def _worker(self, *, at_work: bool = False) -> tuple[str, int]:
        """A worker that runs and is not frozen, if one does within some seconds; if wished with a call under way."""
        end = time.monotonic() + 12
        while time.monotonic() < end:
            parts = [(name, pid) for name, pid in self.world.parts().items() if name.startswith("worker")]
            ready = [(name, pid) for name, pid in parts if pid and name not in self.frozen and is_running(pid)]
            self.random.shuffle(ready)
            for name, pid in ready:
                if not at_work or self._wait_for_call(pid, 1):
                    return name, pid
            if self.stop.wait(0.2):
                break
        return "", 0

    def _wait_for_call(self, pid: int, seconds: float) -> bool:
        return wait_until(lambda: self._open_attempts(pid) > 0, seconds, pause=0.02)

    def _open_attempts(self, pid: int) -> int:
        return self._count(_OPEN_ATTEMPTS, f"%:{pid}:%")

    def _leases_over(self, pid: int) -> int:
        query = "SELECT count(*) AS n FROM sagas_stepattempt WHERE outcome = 'LEASE_OVER' AND worker LIKE %s"
        return self._count(query, f"%:{pid}:%")

    def _count(self, query: str, *values: str) -> int:
        try:
            return int(self.world.rows(query, *values)[0]["n"])
        except WEATHER:
            return 0

    def _freeze(self, name: str, pid: int) -> bool:
        self.frozen[name] = pid
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            self.frozen.pop(name, None)
            return False
        return wait_until(lambda: state_of(pid) == "T", 2, pause=0.02)

    def _thaw_later(self, name: str, pid: int, seconds: float) -> None:
        time.sleep(seconds)
        self._thaw(name, pid)

    def _thaw(self, name: str, pid: int) -> None:
        if is_running(pid):
            os.kill(pid, signal.SIGCONT)
        self.frozen.pop(name, None)

    def thaw_all(self) -> None:
        for name, pid in list(self.frozen.items()):
            self._thaw(name, pid)

    # --- any part ---

    def kill(self, name: str, kind: str, number: signal.Signals) -> None:
        """Kill a part and wait until its supervisor has noticed; that it comes back is seen when all is healed."""
        if not wait_until(lambda: self.world.running(name) is not None, 12):
            self.tally.count(kind, seen=False, detail="it was not running")
            return
        pid = self.world.running(name)
        if pid is None:
            return
        os.kill(pid, number)
        gone = wait_until(lambda: not is_running(pid), 10, pause=0.02)
        self.tally.count(kind, seen=gone, detail=f"process {pid}")

    def down(self, name: str, kind: str) -> None:
        """Stop a part and leave it stopped for some seconds."""
        seconds = self.random.uniform(2, 5)
        self.world.ask(f"stop {name}")
        away = not is_listening(self.world.outside(name)) if name in ("bank", "carrier") else not self._pings()
        time.sleep(seconds)
        answer = self.world.ask(f"start {name}")
        self.tally.count(kind, seen=away, detail=f"for {seconds:.1f} s, then {answer}")

    # --- servers ---

    def _pings(self) -> bool:
        try:
            with self.world.redis() as client:
                return bool(client.ping())
        except WEATHER:
            return False

    def empty_valkey(self) -> None:
        with self.world.redis() as client:
            keys = int(client.dbsize())  # type: ignore[arg-type]
            client.flushall()
        self.tally.count("Valkey emptied", seen=keys > 0, detail=f"{keys} keys")

    def terminate_sessions(self) -> None:
        query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        pids = [row["pid"] for row in self.world.rows(query)]
        chosen = self.random.sample(pids, k=max(1, len(pids) // 2)) if pids else []
        ended = self.world.rows("SELECT pg_terminate_backend(pid) AS ended FROM unnest(%s::int[]) pid", chosen)
        hit = sum(row["ended"] for row in ended)
        self.tally.count("sessions terminated", seen=hit > 0, detail=f"{hit} of {len(pids)}")
