"""A benchmark leaves no process behind."""

import subprocess
import sys

import pytest

from benchmarks import shipped

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


def test_who_does_not_end_is_told_of_and_nobody_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "PATIENCE_S", 0.1)
    processes = [subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()

    with pytest.raises(subprocess.TimeoutExpired):
        shipped.end(processes)

    for process in processes:
        assert process.wait(30) < 0
        process.communicate()
