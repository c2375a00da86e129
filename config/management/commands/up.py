"""`manage.py up`: the whole shop on this machine; and its parts, one by one, for demonstrations."""

import fcntl
import os
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.embedded.service import ServiceFailed
from config.up.control import ControlSocket, ask
from config.up.options import (
    CannotStart,
    Options,
    read_options,
    refuse_taken_ports,
    remove_run_env,
    settings_for_parts,
    write_run_env,
)
from config.up.parts import outside_world, preparation, server_stages, shop
from config.up.supervisor import StopRequested, Supervisor

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Command(BaseCommand):
    help = "Run everything: PostgreSQL, Valkey, web, workers, sweeper, and the demonstration bank and carrier."
    requires_system_checks = []  # this process has no settings of the run yet; its children check theirs

    def add_arguments(self, parser: ArgumentParser) -> None:
        demonstration = parser.add_mutually_exclusive_group()
        demonstration.add_argument("--stop", metavar="PART", help="stop one part of the running shop, such as bank")
        demonstration.add_argument("--start", metavar="PART", help="start it again")
        demonstration.add_argument("--status", action="store_true", help="list the parts and their processes")

    def handle(self, **options: Any) -> None:
        question = question_of(options)
        try:
            if question:
                self.stdout.write(ask(settings.DATA_DIR, question))
            else:
                self.run(read_options(settings.DATA_DIR, os.environ))
        except (CannotStart, ServiceFailed, PermissionError) as failure:
            raise CommandError(str(failure)) from None

    def run(self, options: Options) -> None:
        with only_one(options.data_dir):
            refuse_taken_ports(options)
            supervisor = Supervisor(say)
            for number in STOP_SIGNALS:
                signal.signal(number, supervisor.request_stop)
            control = ControlSocket(options.data_dir, os.geteuid(), supervisor)
            try:
                self.start(options, supervisor)
                supervisor.watch(control.answer)
            except StopRequested:
                say("up", "stopping")
            finally:
                control.close()
                supervisor.stop_all()
                remove_run_env(options)
            say("up", "everything is stopped")

    def start(self, options: Options, supervisor: Supervisor) -> None:
        values = settings_for_parts(options, os.environ)
        os.environ.update(values)  # for the children
        write_run_env(options, values)
        supervisor.start_stages(server_stages(options))
        outside = supervisor.launch_stage(outside_world(options))  # it needs no database: meanwhile this is prepared
        supervisor.run_to_end(preparation())
        supervisor.wait_for_all(outside)
        supervisor.start_stages([shop(options)])
        say("up", "")
        for line in addresses(values):
            say("up", line)


def question_of(options: dict[str, Any]) -> str:
    for verb in ("stop", "start"):
        if options[verb]:
            return f"{verb} {options[verb]}"
    return "status" if options["status"] else ""


@contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Hold the data folder. Raise `CannotStart` if another `manage.py up` does."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "up.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise CannotStart(
                f"Another `manage.py up` (process {file.read().strip()}) runs on {data_dir}: "
                "stop it, or set DATA_DIR to another folder and PORT to another port."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def say(part: str, line: str) -> None:
    try:
        sys.stdout.write(f"{part:>8} | {line}\n")
        sys.stdout.flush()
    except OSError:  # who read us is gone (`make run | head`, a closed terminal): stop, in order and in silence
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        os.kill(os.getpid(), signal.SIGTERM)


def addresses(values: dict[str, str]) -> list[str]:
    url = values["PUBLIC_URL"]
    login = "  (admin / admin)" if values["DEBUG"].lower() in ("1", "true", "yes", "on") else ""
    return [
        f"storefront  {url}/",
        f"admin       {url}/admin/{login}",
        f"dashboard   {url}/admin/sagas/",
        f"API         {url}/api/docs/",
        f"bank        {values['BANK_URL']}/_control",
        f"carrier     {values['CARRIER_URL']}/_control",
        "Ctrl-C stops everything. In another terminal: manage.py up --stop bank, --start bank, --status",
    ]
