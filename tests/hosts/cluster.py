"""PostgreSQL and Valkey on one host, reached over TCP by processes of ours on the others."""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from config.embedded.postgres import DATABASE, FOLDER, USER, postgres_service, postgres_url
from config.embedded.service import Process, Service, launcher_command
from config.embedded.valkey import valkey_service, valkey_url
from tests.hosts.network import Network

ROOT = Path(__file__).parents[2]
SERVERS = "servers"
MANAGE = (sys.executable, str(ROOT / "manage.py"))
CUSTOMERS = (sys.executable, "-m", "tests.hosts.customers")
# Nothing is unique: what happens twice can be counted.
TABLES = """
    CREATE TABLE test_effect (key text, what text, host inet DEFAULT inet_client_addr(),
        at timestamptz DEFAULT clock_timestamp());
    CREATE TABLE test_held (by text);
    INSERT INTO test_held VALUES ('nobody');
"""


class Cluster:
    """The servers, and the processes by host and name. We ourselves use Unix sockets, which nothing cuts."""

    def __init__(self, folder: Path, network: Network) -> None:
        self.folder, self.network = folder, network
        self.processes: dict[tuple[str, str], Process] = {}
        (folder / "errands").mkdir()

    def start_servers(self) -> None:
        address = self.network.addresses[SERVERS]
        postgres, valkey = postgres_service(self.folder, durable=False), valkey_service(self.folder)
        with (self.folder / FOLDER / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.213.0.0/16 trust\n")
        on_tcp = ("-c", f"listen_addresses={address}")
        self.run(SERVERS, replace(postgres, command=(*postgres.command, *on_tcp)))
        on_tcp = ("--bind", address, "--port", "6379", "--protected-mode", "no")
        self.run(SERVERS, replace(valkey, command=(*valkey.command, *on_tcp)))
        for process in self.processes.values():
            process.wait_until_ready(60)
        self.manage("migrate", "--verbosity", "0")
        with psycopg.connect(postgres_url(self.folder), autocommit=True) as connection:
            connection.execute(TABLES)

    def run(self, host: str, service: Service) -> Process:
        # The host first: from its own user namespace PostgreSQL could not enter it any more.
        command = self.network.command(host, *launcher_command(service.command, service.identity, service.death_signal))
        here = replace(service, command=command, environment=self.environment(host), identity="self")
        with self.log(host, service.name).open("wb") as log:
            process = Process(here, log)
        self.processes[host, service.name] = process
        return process

    def manage(self, *arguments: str) -> Process:
        """A command that ends, beside the servers. Fails the test when it fails."""
        process = self.run(SERVERS, Service(arguments[0], (*MANAGE, *arguments)))
        if process.popen.wait(120):
            pytest.fail(self.log(SERVERS, arguments[0]).read_text())
        return process

    def log(self, host: str, name: str) -> Path:
        return self.folder / f"{host} {name}.log"

    def environment(self, host: str) -> dict[str, str]:
        address, local = self.network.addresses[SERVERS], host == SERVERS
        return {
            "DATABASE_URL": postgres_url(self.folder) if local else f"postgres://{USER}@{address}/{DATABASE}",
            "REDIS_URL": valkey_url(self.folder) if local else f"redis://{address}:6379/0",
            "DJANGO_SETTINGS_MODULE": "tests.sagas.errands.settings",
            "DATA_DIR": str(self.folder),
            "DEBUG": "true",
            "ERRANDS": str(self.folder / "errands"),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
        }

    def rows(self, query: str, *values: Any, **named: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(postgres_url(self.folder), autocommit=True) as connection:
            return connection.execute(query, named or values or None).fetchall()

    def number(self, query: str, *values: Any) -> Any:
        return self.rows(query, *values)[0][0]

    def stop(self) -> None:
        """The last first: the servers go when nobody talks to them any more."""
        for process in reversed(self.processes.values()):
            process.stop()


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Fails the test when ``condition`` does not come true in time."""
    if how_long(condition, seconds) >= seconds:
        pytest.fail(f"not within {seconds:g} s")


def how_long(condition: Callable[[], bool], at_most: float) -> float:
    """The seconds until ``condition`` came true; ``at_most`` or more when it did not."""
    began = time.monotonic()
    while not condition() and time.monotonic() < began + at_most:
        time.sleep(0.1)
    return time.monotonic() - began
