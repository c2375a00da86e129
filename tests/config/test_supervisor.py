"""The supervisor with real processes, small ones."""

import os
import signal
import sys
import threading
import time

import pytest

from config.embedded.service import Service, ServiceFailed
from config.up import supervisor as supervision
from config.up.control import ControlSocket, ask, carry_out
from config.up.options import CannotStart
from config.up.supervisor import StopRequested, Supervisor

SLEEP = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
)


def python(name, program, **options):
    return Service(name=name, command=(sys.executable, "-I", "-c", program), **options)


@pytest.fixture
def said():
    return []


@pytest.fixture
def supervisor(said, monkeypatch):
    monkeypatch.setattr(supervision, "SHORTEST_PAUSE", 0.01)
    supervisor = Supervisor(lambda part, line: said.append((part, line)))
    yield supervisor
    supervisor.stop_all()


def watch_until(supervisor, condition, seconds=10):
    """Run the loop until ``condition()``, then ask it to stop as Ctrl-C does."""
    give_up_at = time.monotonic() + seconds

    def every_turn():
        assert time.monotonic() < give_up_at, "it did not happen"
        if condition():
            supervisor.request_stop(signal.SIGINT, None)

    with pytest.raises(StopRequested):
        supervisor.watch(every_turn)
    supervisor.stop_requested = False


def pid_of(supervisor, name):
    return next(part.process.popen.pid for part in supervisor.parts() if part.name == name and part.process)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_a_part_prints_carries_its_name(supervisor, said):
    supervisor.run_to_end(python("prepare", "print('one'); print('two', end='')"))

    assert said[:2] == [("prepare", "one"), ("prepare", "two")]
    assert said[2][1].startswith("done after")


def test_a_preparation_that_fails_stops_the_start(supervisor, said):
    with pytest.raises(ServiceFailed, match=r"^prepare failed with status 3\.$"):
        supervisor.run_to_end(python("prepare", "raise SystemExit(3)"))


def test_a_part_that_keeps_ending_while_starting_is_given_up(supervisor, said):
    with pytest.raises(ServiceFailed, match="web ended 3 times while starting"):
        supervisor.start_stages([(python("web", "print('no port'); raise SystemExit(1)", is_ready=lambda: False),)])

    assert said.count(("web", "no port")) == 3


def test_a_killed_part_is_started_again(supervisor, said):
    supervisor.start_stages([(python("bank", SLEEP), python("carrier", SLEEP))])
    bank, carrier = pid_of(supervisor, "bank"), pid_of(supervisor, "carrier")

    os.kill(bank, signal.SIGKILL)
    watch_until(supervisor, lambda: sum(line.startswith("ready") for part, line in said if part == "bank") == 2)

    assert ("bank", "ended (killed by signal 9); starting again in 0.01 s") in said
    assert pid_of(supervisor, "bank") != bank
    assert pid_of(supervisor, "carrier") == carrier


def test_the_pause_doubles_with_every_quick_end_and_has_a_limit():
    part = supervision.Part(python("web", SLEEP))

    pauses = []
    for part.quick_ends in range(7):
        pauses.append(part.pause())

    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_stage_can_start_while_something_else_is_prepared(supervisor, said):
    outside = supervisor.launch_stage((python("bank", SLEEP),))
    supervisor.run_to_end(python("prepare", "pass"))
    supervisor.wait_for_all(outside)

    assert [part for part, _ in said] == ["prepare", "bank"]
    assert said[1][1].startswith("ready after")


def test_the_last_stage_stops_first(supervisor, said):
    supervisor.start_stages([(python("postgres", SLEEP),), (python("valkey", SLEEP),), (python("web", SLEEP),)])
    pids = [part.process.popen.pid for part in supervisor.parts()]

    supervisor.stop_all()

    assert [part for part, line in said if line == "stopped"] == ["web", "valkey", "postgres"]
    assert not any(map(is_alive, pids))


def test_a_part_that_does_not_stop_is_killed(supervisor, said):
    supervisor.start_stages([(python("web", STUBBORN, stop_seconds=0.2),)])
    watch_until(supervisor, lambda: ("web", "deaf") in said)
    pid = pid_of(supervisor, "web")

    supervisor.stop_all()

    assert ("web", "did not stop in time and is killed") in said
    assert not is_alive(pid)


def test_what_a_killed_part_started_is_killed_too(supervisor, said):
    parent = "import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', %r]).pid, flush=True); %s"
    supervisor.start_stages([(python("web", parent % (SLEEP, SLEEP)),)])
    watch_until(supervisor, lambda: any(line.isdecimal() for _, line in said))
    child = int(next(line for _, line in said if line.isdecimal()))

    os.kill(pid_of(supervisor, "web"), signal.SIGKILL)
    watch_until(supervisor, lambda: any(line.startswith("ended") for _, line in said))

    assert not is_running(child)


def is_running(pid):
    """Dead, or a zombie that nobody has collected yet: both are over."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_part_stops_and_starts_by_name_and_the_others_stay(supervisor):
    supervisor.start_stages([(python("bank", SLEEP), python("carrier", SLEEP))])
    carrier = pid_of(supervisor, "carrier")

    assert carry_out(supervisor, "stop bank") == "bank: stopped"
    watch_until(supervisor, lambda: True)
    assert carry_out(supervisor, "status") == f"bank: stopped\ncarrier: running (process {carrier})"

    answer = carry_out(supervisor, "start bank")
    assert answer == f"bank: running (process {pid_of(supervisor, 'bank')})"
    assert carry_out(supervisor, "start bank") == answer


def test_a_part_that_does_not_get_ready_by_name_is_stopped_again_and_ends_no_other(supervisor, monkeypatch):
    """As web does while PostgreSQL is stopped."""
    monkeypatch.setattr(supervision, "START_SECONDS", 0.2)
    database = ["up"]
    supervisor.start_stages([(python("web", SLEEP, is_ready=lambda: bool(database)), python("worker", SLEEP))])
    worker = pid_of(supervisor, "worker")
    carry_out(supervisor, "stop web")
    database.clear()

    answer = carry_out(supervisor, "start web")

    assert answer == "web was not ready after 0.2 seconds. It is stopped again; the others run on."
    assert carry_out(supervisor, "status") == f"web: stopped\nworker: running (process {worker})"
    database.append("up")
    assert carry_out(supervisor, "start web").startswith("web: running")


def test_a_part_that_keeps_ending_when_started_by_name_is_stopped_and_ends_no_other(supervisor):
    supervisor.start_stages([(python("bank", SLEEP),)])
    (web,) = supervisor.launch_stage((python("web", "raise SystemExit(1)", is_ready=lambda: False),))
    supervisor.stop_part(web)

    answer = carry_out(supervisor, "start web")

    assert answer == (
        "web ended 3 times while starting: what it printed says why. It is stopped again; the others run on."
    )
    watch_until(supervisor, lambda: True)
    assert carry_out(supervisor, "status") == f"bank: running (process {pid_of(supervisor, 'bank')})\nweb: stopped"


def test_an_unknown_part_gets_the_names_of_the_known_ones(supervisor):
    supervisor.start_stages([(python("bank", SLEEP),)])

    assert carry_out(supervisor, "stop banana") == "There is no part 'banana': the parts are bank."


def test_the_control_socket_answers_another_process(supervisor, tmp_path):
    supervisor.start_stages([(python("bank", SLEEP),)])
    control = ControlSocket(tmp_path, os.geteuid(), supervisor)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(ask(tmp_path, "stop bank")))

    asking.start()
    watch_until(supervisor, lambda: control.answer() or answers)
    asking.join()
    control.close()

    assert answers == ["bank: stopped"]


def test_without_a_running_shop_the_control_command_says_what_to_do(tmp_path):
    with pytest.raises(CannotStart, match="start it with `make run` first"):
        ask(tmp_path, "status")
