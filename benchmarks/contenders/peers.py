"""Other tools, each with workers for two cores (not tuned further); their programs are in `benchmarks.peers`."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from socket import socket

from benchmarks import database
from benchmarks.crew import Crew
from benchmarks.work import Batch

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-peers"
RESTATE_SERVER = VENV / "restate/node_modules/.bin/restate-server"
PATIENCE_S = 60


class Peer:
    """Orders are placed and begun by two processes, as for the engine, and driven by what ``workers`` says."""

    name: str
    module: str
    before: tuple[str, ...] = ()
    workers: tuple[tuple[str, ...], ...] = ()
    environment: Mapping[str, str] = {}

    def prepare(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        if self.before:
            subprocess.run(self._command(self.before), check=True, env=self._environment(), stdout=subprocess.DEVNULL)  # noqa: S603
        for worker in self.workers:
            self._spawn(worker)
        self._starters()

    def _spawn(self, worker: tuple[str, ...]) -> None:
        self.processes.append(
            subprocess.Popen(  # noqa: S603
                self._command(worker),
                env=self._environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    def _starters(self) -> None:
        self.starters = Crew(self.module, 2, str(VENV / "bin/python"), self._environment())
        self.run(Batch(first=999_000_000, count=20))  # the workers have started when these are done

    def _command(self, command: tuple[str, ...]) -> list[str]:
        return [str(VENV / "bin" / command[0]), *command[1:]]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), **self.environment}

    def pids(self) -> list[int]:
        return [*(process.pid for process in self.processes), *self.starters.pids]

    def run(self, batch: Batch) -> list[float]:
        started = self.starters.run(batch)
        database.wait_for_ends(batch)
        return started

    def clean(self) -> None:
        self.starters.stop()
        for process in self.processes:
            os.killpg(process.pid, signal.SIGKILL)  # whatever they started; nothing of theirs is kept
            process.wait()


class CeleryChain(Peer):
    name = "Celery chain"
    module = "benchmarks.peers.celery_chain"
    workers = (("celery", "-A", module, "worker", "--concurrency=2", "--loglevel=ERROR"),)


class RqForking(Peer):
    """A job a step, in a process of its own: what `rq worker` does."""

    name = "RQ, forked jobs"
    module = "benchmarks.peers.rq_jobs"
    environment = {"RQ_QUEUE": "forked"}
    workers = (("rq", "worker", "--quiet", "forked"),) * 2


class RqSimple(Peer):
    name = "RQ, simple worker"
    module = "benchmarks.peers.rq_jobs"
    environment = {"RQ_QUEUE": "simple"}
    workers = (("rq", "worker", "--quiet", "--worker-class=rq.SimpleWorker", "simple"),) * 2


class Procrastinate(Peer):
    name = "Procrastinate"
    module = "benchmarks.peers.procrastinate_tasks"
    before = ("procrastinate", f"--app={module}.app", "schema", "--apply")
    workers = (("procrastinate", f"--app={module}.app", "worker", "--concurrency=10"),) * 2


class Dbos(Peer):
    """No workers: a process that begins a workflow runs it."""

    name = "DBOS Transact"
    module = "benchmarks.peers.dbos_workflow"


class Restate(Peer):
    """Its server is its database: what it writes is not in the columns for PostgreSQL."""

    name = "Restate"
    module = "benchmarks.peers.restate_orders"

    def prepare(self) -> None:
        self.processes = []
        self.folder = Path(tempfile.mkdtemp(prefix="restate-"))
        ingress, admin, node, service = (_free_port() for _ in range(4))
        self.environment = {
            "RESTATE_PORT": str(ingress),
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{node}",
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_BASE_DIR": str(self.folder),
            "DO_NOT_TRACK": "1",
        }
        self._spawn((str(RESTATE_SERVER), "--no-logo"))
        self._spawn(
            ("granian", "--interface=asgi", "--workers=2", f"--port={service}", "benchmarks.peers.restate_service:app")
        )
        self._register(f"http://127.0.0.1:{admin}/deployments", f"http://127.0.0.1:{service}")
        self._starters()

    def _register(self, admin: str, service: str) -> None:
        """Server and service come up in their own time."""
        asked = urllib.request.Request(  # noqa: S310 - our own server
            admin, json.dumps({"uri": service}).encode(), {"Content-Type": "application/json"}
        )
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                urllib.request.urlopen(asked, timeout=10).close()  # noqa: S310
            except (urllib.error.URLError, OSError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
            else:
                return

    def clean(self) -> None:
        super().clean()
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
