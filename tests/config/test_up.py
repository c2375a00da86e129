"""`manage.py up` as a person runs it: the real thing, on ports and in a folder of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from config.embedded.postgres import answers as postgres_answers
from config.embedded.postgres import postgres_url
from config.embedded.valkey import answers as valkey_answers
from config.embedded.valkey import valkey_url
from config.up.control import ask

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
START_SECONDS = 60


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """What a person's shell has: none of the settings of the tests."""
    return {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(tmp_path_factory.mktemp("up")),
        "PORT": str(three_free_ports()),
        "WORKERS": "1",
    }


def three_free_ports():
    for first in range(20_000 + os.getpid() % 10_000, 40_000, 3):
        if not any(is_listening(port) for port in (first, first + 1, first + 2)):
            return first
    raise AssertionError("no three free ports in a row")


def is_listening(port):
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def manage(environment, *arguments):
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def shop(environment):
    """A running shop, killed afterwards whatever happened."""
    data_dir = Path(environment["DATA_DIR"])
    with (data_dir / "up.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until(
            lambda: "storefront" in (data_dir / "up.log").read_text() or process.poll() is not None, START_SECONDS
        )
        assert process.poll() is None, (data_dir / "up.log").read_text()
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(condition, seconds=15):
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.05)


def processes_of(environment):
    """Name to process id, as `manage.py up --status` lists them."""
    lines = ask(Path(environment["DATA_DIR"]), "status").splitlines()
    return {line.split(":")[0]: int(line.rpartition(" ")[2].rstrip(")")) for line in lines}


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def nothing_is_left(environment, pids):
    data_dir, port = Path(environment["DATA_DIR"]), int(environment["PORT"])
    return not (
        any(is_running(pid) for pid in pids)
        or any(is_listening(port + offset) for offset in range(3))
        or postgres_answers(postgres_url(data_dir))
        or valkey_answers(valkey_url(data_dir))
    )


def test_the_shop_starts_whole_and_stops_whole(shop, environment):
    url = f"http://127.0.0.1:{environment['PORT']}"
    data_dir = Path(environment["DATA_DIR"])
    before = processes_of(environment)

    assert list(before) == ["postgres", "valkey", "bank", "carrier", "web", "sweeper", "worker-1"]
    assert urllib.request.urlopen(f"{url}/readyz", timeout=30).status == 200
    assert urllib.request.urlopen(f"{url}/", timeout=30).status == 200
    assert (data_dir / "run.env").stat().st_mode & 0o777 == 0o600

    bank_port = int(environment["PORT"]) + 1
    assert manage(environment, "up", "--stop", "bank").stdout.strip() == "bank: stopped"
    assert not is_listening(bank_port)
    ask(data_dir, "start bank")
    assert is_listening(bank_port)
    processes = processes_of(environment)
    assert {name for name in before if before[name] != processes[name]} == {"bank"}

    second = manage(environment, "up")
    assert second.returncode == 1
    assert f"Another `manage.py up` (process {shop.pid}) runs on {data_dir}" in second.stderr

    shop.send_signal(signal.SIGINT)
    assert shop.wait(timeout=30) == 0
    assert nothing_is_left(environment, [*before.values(), *processes.values()])
    assert not (data_dir / "run.env").exists()
    stopped = [
        line.split("|")[0].strip() for line in (data_dir / "up.log").read_text().splitlines() if "| stopped" in line
    ]
    assert stopped == ["bank", "web", "sweeper", "worker-1", "bank", "carrier", "valkey", "postgres"]


def test_nothing_outlives_a_killed_supervisor(shop, environment):
    processes = processes_of(environment)

    shop.kill()

    wait_until(lambda: nothing_is_left(environment, processes.values()))
