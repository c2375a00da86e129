"""A pytest plugin: PostgreSQL and Valkey for one run of the tests, and the environment they run in.

Loaded by ``-p tests.servers`` (pyproject.toml) so that it acts before pytest-django reads the
settings. DATABASE_URL and REDIS_URL of the environment are used instead where they are set.
Every run has servers and a folder of its own: two runs at the same time do not meet. Where `pytest -n`
runs the tests in several processes, each of them is such a run, and who hands them out needs no servers.
"""

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.embedded.postgres import postgres_service, postgres_url
from config.embedded.service import Process, Service
from config.embedded.valkey import valkey_service, valkey_url

ENVIRONMENT = {
    "DEBUG": "false",
    "HTTPS": "false",
    "SANDBOX": "true",
    "SECRET_KEY": "for-the-tests-only-and-long-enough-to-be-taken-for-a-real-one",
    "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
    "EMAIL_BACKEND": "django.core.mail.backends.locmem.EmailBackend",
    "LOG_LEVEL": "WARNING",
    # Nothing listens on port 9 (discard): a test that forgets its own bank does not reach a real one.
    "BANK_URL": "http://127.0.0.1:9",
    "CARRIER_URL": "http://127.0.0.1:9",
    "STATIC_MANIFEST": "false",
    "CIRCUIT_BREAKER_FAILURES": "1000000",  # the tests of the breaker set their own
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",  # Playwright keeps an event loop in the thread of the tests
}


class Servers:
    """What this run of the tests started."""

    def __init__(self) -> None:
        self.data_dir = Path(tempfile.mkdtemp(prefix="shop-tests-"))
        self.processes: list[Process] = []

    def start(self, hands_out: bool) -> None:
        os.environ.update(ENVIRONMENT)
        os.environ["DATA_DIR"] = str(self.data_dir)
        (self.data_dir / "static").mkdir()  # WhiteNoise warns where STATIC_ROOT is missing
        if hands_out:
            if "REDIS_URL" in os.environ:
                raise pytest.UsageError("REDIS_URL: one queue cannot serve several processes of tests; leave out -n")
            return
        if "DATABASE_URL" not in os.environ:
            self.run(postgres_service(self.data_dir, durable=False))
            os.environ["DATABASE_URL"] = postgres_url(self.data_dir)
        if "REDIS_URL" not in os.environ:
            self.run(valkey_service(self.data_dir))
            os.environ["REDIS_URL"] = valkey_url(self.data_dir)
        for process in self.processes:
            process.wait_until_ready(seconds=30)

    def run(self, service: Service) -> None:
        with (self.data_dir / f"{service.name}.log").open("wb") as log:
            self.processes.append(Process(service, log))

    def stop(self) -> None:
        while self.processes:
            self.processes.pop().stop()
        shutil.rmtree(self.data_dir, ignore_errors=True)


servers = pytest.StashKey[Servers]()


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """A wrapper, because pytest-django reads the settings in the first of the plain hooks."""
    early_config.stash[servers] = Servers()
    atexit.register(early_config.stash[servers].stop)  # a wrong option ends pytest without pytest_unconfigure
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as Ctrl-C does
    try:
        several = getattr(early_config.known_args_namespace, "numprocesses", None)
        early_config.stash[servers].start(hands_out=bool(several) and not os.environ.get("PYTEST_XDIST_WORKER"))
        return (yield)
    except BaseException:
        early_config.stash[servers].stop()
        raise


def pytest_unconfigure(config: pytest.Config) -> None:
    """Called at the end, also after Ctrl-C."""
    if servers in config.stash:
        config.stash[servers].stop()
