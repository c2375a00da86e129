"""The shipped processes, `manage.py` with their commands, started and ended as a supervisor does."""

import os
import subprocess
import sys
from collections.abc import Sequence

PATIENCE_S = 30


def begin(*commands: str) -> list[subprocess.Popen[bytes]]:
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"}
    return [subprocess.Popen([sys.executable, "manage.py", command], env=env) for command in commands]  # noqa: S603


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask all to end. One that does not within half a minute raises TimeoutExpired, and none is left behind."""
    for process in processes:
        process.terminate()
    try:
        for process in processes:
            process.wait(PATIENCE_S)
    finally:
        for process in processes:
            process.kill()
