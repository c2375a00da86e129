"""PostgreSQL and Valkey for one run: real ones, durable, in a folder that goes away."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from config.embedded.postgres import postgres_service, postgres_url
from config.embedded.service import Process
from config.embedded.valkey import valkey_service, valkey_url

# The log is where statements are counted; `fsync` and `synchronous_commit` stay on.
LOGGING = ("-c", "log_min_messages=log", "-c", "log_checkpoints=off", "-c", "log_error_verbosity=terse")

# Settings of accounts that a start without DEBUG insists on.
OUTSIDE = ("BANK_API_KEY", "BANK_WEBHOOK_SECRETS", "CARRIER_API_KEY", "CARRIER_WEBHOOK_SECRETS")


@dataclass(frozen=True)
class Servers:
    postgres_pid: int
    postgres_log: Path


@contextmanager
def running() -> Iterator[Servers]:
    """Start both, make the tables, and put their addresses into the environment."""
    folder = Path(tempfile.mkdtemp(prefix="saga-benchmarks-"))
    processes: list[Process] = []
    try:
        postgres = postgres_service(folder)
        log = folder / "postgres.log"
        with log.open("wb") as output:
            processes.append(Process(replace(postgres, command=(*postgres.command, *LOGGING)), output))
        processes.append(Process(valkey_service(folder), subprocess.DEVNULL))
        for process in processes:
            process.wait_until_ready(30)
        os.environ.update(
            DATA_DIR=str(folder),
            DATABASE_URL=postgres_url(folder),
            REDIS_URL=valkey_url(folder),
            LOG_LEVEL="WARNING",
            DEBUG="false",
            **dict.fromkeys(OUTSIDE, "nothing-outside-is-called"),
            SECRET_KEY="for-the-benchmarks-only-and-long-enough-to-be-taken-for-a-real-one",  # noqa: S106
        )
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--run-syncdb", "--verbosity=0"],
            check=True,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"},
        )
        yield Servers(processes[0].popen.pid, log)
    finally:
        for process in reversed(processes):
            process.stop()
        shutil.rmtree(folder, ignore_errors=True)
