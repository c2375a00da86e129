"""The parts of the running shop, as data, in the order they start. They stop in reverse."""

import http.client
import signal
import sys
from collections.abc import Callable

from django.conf import settings

from config.embedded.postgres import postgres_service
from config.embedded.service import Service
from config.embedded.valkey import valkey_service
from config.up.options import HOST, Options

Stage = tuple[Service, ...]


def server_stages(options: Options) -> list[Stage]:
    """PostgreSQL, then Valkey: nothing for those the environment names."""
    stages: list[Stage] = []
    if options.database_url is None:
        stages.append((postgres_service(options.data_dir),))
    if options.redis_url is None:
        stages.append((valkey_service(options.data_dir),))
    return stages


def outside_world(options: Options) -> Stage:
    return (
        sandbox("bank", "sandbox_bank", options.bank_port, webhook(options, "payments")),
        sandbox("carrier", "sandbox_carrier", options.carrier_port, webhook(options, "shipping")),
    )


def shop(options: Options) -> Stage:
    workers = (manage(f"worker-{number}", "saga_worker") for number in range(1, options.workers + 1))
    return (web(options), manage("sweeper", "saga_sweeper"), *workers)


def preparation() -> Service:
    """Migrates, makes the demonstration's admin and catalogue, and ends."""
    return manage("prepare", "prepare_demonstration")


def web(options: Options) -> Service:
    arguments = (
        "config.wsgi:application",
        f"--bind={HOST}:{options.port}",
        "--worker-class=gthread",
        "--workers=2",
        "--threads=8",
        "--preload",
        "--no-control-socket",
        "--graceful-timeout=5",
        "--log-level=warning",
    )
    return Service(
        name="web",
        command=(sys.executable, "-m", "gunicorn", *arguments),
        is_ready=answers_http(options.port, "/readyz"),
        environment={"PYTHONUNBUFFERED": "1"},
        death_signal=signal.SIGTERM,  # its workers have to be told
    )


def webhook(options: Options, topic: str) -> str:
    return f"http://{HOST}:{options.port}/api/v1/webhooks/{topic}/"


def sandbox(name: str, command: str, port: int, webhook_url: str) -> Service:
    arguments = (command, "--port", str(port), "--webhook-url", webhook_url)
    return manage(name, *arguments, is_ready=answers_http(port, "/"))


def manage(name: str, *arguments: str, is_ready: Callable[[], bool] | None = None) -> Service:
    command = (sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments)
    environment = {"PYTHONUNBUFFERED": "1"}
    if is_ready is None:
        return Service(name=name, command=command, environment=environment)
    return Service(name=name, command=command, environment=environment, is_ready=is_ready)


def answers_http(port: int, path: str) -> Callable[[], bool]:
    """Ready when any answer but a server's error comes."""

    def is_ready() -> bool:
        connection = http.client.HTTPConnection(HOST, port, timeout=1)
        try:
            connection.request("GET", path)
            return connection.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return is_ready
