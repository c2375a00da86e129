"""The real sandbox bank and carrier as fixtures: processes of their own, one of each for the run.

A conftest that wants them imports `bank`, `carrier` and the two ``..._process`` fixtures.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]


class SandboxProcess:
    """One sandbox service; `control` sets faults, `ledger` is the independent witness."""

    def __init__(self, name: str, data_dir: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", f"sandbox_{name}", "--port", "0", *options],
            cwd=ROOT,
            env={**os.environ, "DATA_DIR": str(data_dir), "SANDBOX": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert " on http://" in line, f"the sandbox {name} did not start"
        self.url = line.split(" on ")[1].strip()

    def control(self, **wish: Any) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/_control", json=wish, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fired(self) -> dict[str, int]:
        return requests.get(f"{self.url}/_control", timeout=30).json()["fired"]

    def asked(self) -> dict[str, int]:
        return requests.get(f"{self.url}/_control", timeout=30).json()["asked"]

    def ledger(self, reference: str) -> list[dict[str, Any]]:
        """What the service itself believes about one reference."""
        return [row for row in self.rows() if row["reference"] == reference]

    def rows(self) -> list[dict[str, Any]]:
        """What the service itself believes."""
        (rows,) = [
            rows for rows in requests.get(f"{self.url}/_ledger", timeout=30).json().values() if type(rows) is list
        ]
        return rows

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
        self.process.stdout.close()


@pytest.fixture(scope="session")
def bank_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    process = SandboxProcess("bank", tmp_path_factory.mktemp("bank"))
    yield process
    process.stop()


@pytest.fixture(scope="session")
def carrier_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    process = SandboxProcess("carrier", tmp_path_factory.mktemp("carrier"))
    yield process
    process.stop()


@pytest.fixture
def bank(bank_process: SandboxProcess, settings: Any) -> SandboxProcess:
    """The bank, without faults, and the settings pointing at it."""
    bank_process.control(fault="reset")
    settings.BANK_URL = bank_process.url
    return bank_process


@pytest.fixture
def carrier(carrier_process: SandboxProcess, settings: Any) -> SandboxProcess:
    """The carrier, without faults, and the settings pointing at it."""
    carrier_process.control(fault="reset")
    settings.CARRIER_URL = carrier_process.url
    return carrier_process
