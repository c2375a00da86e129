"""What the person asked for, from the environment, and the settings that follow for every part."""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from config.embedded.postgres import postgres_url
from config.embedded.valkey import valkey_url

HOST = "127.0.0.1"


class CannotStart(Exception):
    """One sentence for the person who typed the command, with the way out."""


@dataclass(frozen=True)
class Options:
    data_dir: Path
    port: int
    workers: int
    database_url: str | None
    redis_url: str | None

    @property
    def bank_port(self) -> int:
        return self.port + 1

    @property
    def carrier_port(self) -> int:
        return self.port + 2


def read_options(data_dir: Path, environment: Mapping[str, str]) -> Options:
    """Raise `CannotStart` where a value makes no sense."""
    return Options(
        data_dir=data_dir,
        port=whole_number(environment, "PORT", default=8000, lowest=1, highest=65533),
        workers=whole_number(environment, "WORKERS", default=2, lowest=1, highest=64),
        database_url=environment.get("DATABASE_URL") or None,
        redis_url=environment.get("REDIS_URL") or None,
    )


def whole_number(environment: Mapping[str, str], name: str, *, default: int, lowest: int, highest: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not lowest <= int(text) <= highest:
        raise CannotStart(f"{name} is {text!r}: give a whole number from {lowest} to {highest}.")
    return int(text)


def settings_for_parts(options: Options, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables every part runs with. What the environment sets already, stays."""
    values = {
        "DEBUG": "true",
        "HTTPS": "false",
        "DATA_DIR": str(options.data_dir),
        "DATABASE_URL": options.database_url or postgres_url(options.data_dir),
        "REDIS_URL": options.redis_url or valkey_url(options.data_dir),
        "PUBLIC_URL": f"http://{HOST}:{options.port}",
        "BANK_URL": f"http://{HOST}:{options.bank_port}",
        "CARRIER_URL": f"http://{HOST}:{options.carrier_port}",
        "SANDBOX": "true",
    }
    return {name: environment.get(name) or value for name, value in values.items()}


def refuse_taken_ports(options: Options, patience: float = 3) -> None:
    """Raise `CannotStart` if a port is taken.

    Waits a little: after a SIGKILL of the last supervisor its children are still ending.
    """
    give_up_at = time.monotonic() + patience
    for port in (options.port, options.bank_port, options.carrier_port):
        while not is_free(port):
            if time.monotonic() > give_up_at:
                raise CannotStart(
                    f"Port {port} is taken by another program: choose another PORT, such as PORT={options.port + 100} "
                    "(the shop takes PORT, the bank PORT+1, the carrier PORT+2)."
                )
            time.sleep(0.1)


def is_free(port: int) -> bool:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def write_run_env(options: Options, values: Mapping[str, str]) -> Path:
    """Tell the settings of every other command, such as `manage.py shell`, where the parts are."""
    path = options.data_dir / "run.env"
    remove_run_env(options)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("# Written by `manage.py up`, removed when it ends.\n")
        file.writelines(f"{name}='{value}'\n" for name, value in values.items() if name != "DATA_DIR")
    return path


def remove_run_env(options: Options) -> None:
    (options.data_dir / "run.env").unlink(missing_ok=True)
