"""The embedded servers, beside the ones the tests run on."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from config.embedded import identity, sockets
from config.embedded.postgres import postgres_service, postgres_url
from config.embedded.service import Process, ServiceFailed, launcher_command


@contextmanager
def running(service):
    process = Process(service, subprocess.DEVNULL)
    try:
        process.wait_until_ready(seconds=30)
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A data folder whose cluster exists."""
    folder = tmp_path_factory.mktemp("postgres")
    postgres_service(folder, durable=False)
    return folder


def test_the_demonstration_keeps_what_is_committed_and_the_tests_need_not(cluster):
    assert "fsync=on" in postgres_service(cluster).command
    assert "fsync=off" in postgres_service(cluster, durable=False).command


def test_committed_rows_survive_a_killed_postgres(cluster):
    with running(postgres_service(cluster)) as process:
        with psycopg.connect(postgres_url(cluster)) as connection:
            connection.execute("CREATE TABLE kept (id int)")
            connection.execute("INSERT INTO kept VALUES (7)")
        process.kill()

    with running(postgres_service(cluster)), psycopg.connect(postgres_url(cluster)) as connection:
        assert connection.execute("SELECT id FROM kept").fetchall() == [(7,)]
        connection.execute("DROP TABLE kept")


def test_an_unfinished_cluster_is_not_taken_for_one(tmp_path, monkeypatch):
    def fail(name, *arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("config.embedded.postgres.run", fail)

    with pytest.raises(KeyboardInterrupt):
        postgres_service(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_deep_data_folder_gets_a_short_private_folder_for_its_socket(tmp_path):
    shallow, deep = Path("/srv/shop"), tmp_path / ("deep" * 30)

    assert sockets.socket_folder(shallow, "postgres", ".s.PGSQL.5432") == Path("/srv/shop/postgres-socket")
    folder = sockets.socket_folder(deep, "postgres", ".s.PGSQL.5432")
    assert len(str(folder / ".s.PGSQL.5432")) <= sockets.LONGEST_SOCKET_PATH
    assert folder == sockets.socket_folder(deep, "postgres", ".s.PGSQL.5432")
    assert folder != sockets.socket_folder(deep / "other", "postgres", ".s.PGSQL.5432")


def test_a_folder_made_by_somebody_else_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "socket").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(PermissionError, match="belongs to somebody else"):
        sockets.make_private(tmp_path / "socket", os.geteuid())


def test_a_private_folder_is_closed_to_others(tmp_path):
    (tmp_path / "socket").mkdir(mode=0o755)

    sockets.make_private(tmp_path / "socket", os.geteuid())

    assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the death signal is Linux's")
@pytest.mark.parametrize("who", ["self", "namespace", "nobody"])
def test_a_process_dies_with_the_one_that_started_it(who):
    if who != "self" and (os.geteuid() != 0 or not identity.runs(who, "/bin/true")):
        pytest.skip(f"{who}: only for root, where the machine allows it")
    parent = (
        "import subprocess, sys, time\n"
        f"sys.path.insert(0, {str(Path.cwd())!r})\n"
        "from config.embedded.service import launcher_command\n"
        f"print(subprocess.Popen(launcher_command(('/bin/sleep', '600'), {who!r})).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        child = int(process.stdout.readline())
        wait_until(lambda: command_of(child) == "/bin/sleep")
        process.kill()

    wait_until(lambda: command_of(child) != "/bin/sleep")


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return None


def wait_until(condition, seconds=5):
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.01)


def test_the_launcher_does_not_outlive_a_parent_that_is_gone_already():
    command = list(launcher_command(("/bin/sleep", "600"), "self"))
    command[4] = "1"  # claims to be a child of init

    process = subprocess.run(command, check=False, timeout=10)

    assert process.returncode == -signal.SIGKILL


@pytest.fixture
def nobody(monkeypatch):
    """A machine that forbids user namespaces, as many containers do."""
    if os.geteuid() != 0:
        pytest.skip("only root needs another identity")
    for module in ("identity", "postgres"):
        monkeypatch.setattr(f"config.embedded.{module}.server_identity", lambda: "nobody")


@pytest.fixture
def open_folder():
    """A folder that everybody may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_root_without_user_namespaces_runs_postgres_as_nobody(nobody, open_folder):
    data_dir = open_folder / "data"

    with running(postgres_service(data_dir, durable=False)), psycopg.connect(postgres_url(data_dir)) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("shop",)
        assert (data_dir / "postgres").owner() == "nobody"


def test_root_without_user_namespaces_gets_one_sentence_about_a_closed_folder(nobody, open_folder):
    (open_folder / "closed").mkdir(mode=0o700)

    with pytest.raises(ServiceFailed, match="closed: set DATA_DIR to a folder that everybody may enter"):
        postgres_service(open_folder / "closed" / "data")


def test_binaries_that_nobody_cannot_reach_are_copied_once(nobody, open_folder, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(open_folder))
    installation = open_folder / "closed" / "pginstall"
    (installation / "bin").mkdir(parents=True)
    shutil.copy("/bin/true", installation / "bin" / "postgres")
    assert identity.reachable_binaries(installation, "postgres") == installation

    (open_folder / "closed").chmod(0o700)
    copy = identity.reachable_binaries(installation, "postgres")

    assert copy.parent == open_folder
    assert identity.runs("nobody", str(copy / "bin" / "postgres"), "--version")
    assert identity.reachable_binaries(installation, "postgres") == copy
    assert sorted(path.name for path in open_folder.iterdir()) == ["closed", copy.name]
