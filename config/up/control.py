"""Starting and stopping one part from another terminal: `manage.py up --stop bank`.

A Unix socket in the data folder; one line asked, the answer's lines back.
"""

import socket
from pathlib import Path

from config.embedded.service import ServiceFailed
from config.embedded.sockets import make_private, socket_folder
from config.up.options import CannotStart
from config.up.supervisor import Part, Supervisor

SOCKET_NAME = "control.sock"
ASK_SECONDS = 60


class ControlSocket:
    """The supervisor's end. Asked once a turn, it never blocks when nobody called."""

    def __init__(self, data_dir: Path, owner: int, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        folder = socket_folder(data_dir, "up", SOCKET_NAME)
        make_private(folder, owner)
        self.path = folder / SOCKET_NAME
        self.path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(self.path))
        self.socket.listen()
        self.socket.setblocking(False)

    def answer(self) -> None:
        try:
            connection, _ = self.socket.accept()
        except BlockingIOError:
            return
        with connection:
            connection.settimeout(1)
            try:
                question = connection.recv(200).decode()
                connection.sendall(carry_out(self.supervisor, question).encode())
            except OSError:  # who asked has left
                return

    def close(self) -> None:
        self.socket.close()
        self.path.unlink(missing_ok=True)


def carry_out(supervisor: Supervisor, question: str) -> str:
    """Do what was asked (``status``, ``stop NAME``, ``start NAME``) and say what is now."""
    verb, _, name = question.strip().partition(" ")
    parts = {part.name: part for part in supervisor.parts()}
    if verb == "status":
        return "\n".join(state(part) for part in parts.values())
    if name not in parts:
        return f"There is no part {name!r}: the parts are {', '.join(parts)}."
    if verb == "stop":
        supervisor.stop_part(parts[name])
    elif verb == "start":
        try:
            supervisor.start_part(parts[name])
        except ServiceFailed as failure:
            return f"{failure} It is stopped again; the others run on."
    return state(parts[name])


def state(part: Part) -> str:
    if part.process is not None:
        return f"{part.name}: running (process {part.process.popen.pid})"
    return f"{part.name}: {'starting again soon' if part.start_at is not None else 'stopped'}"


def ask(data_dir: Path, question: str) -> str:
    """Ask the running `manage.py up`. Raise `CannotStart` when there is none."""
    path = socket_folder(data_dir, "up", SOCKET_NAME) / SOCKET_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ASK_SECONDS)
        try:
            connection.connect(str(path))
        except OSError:
            raise CannotStart(f"Nothing runs on {data_dir}: start it with `make run` first.") from None
        connection.sendall(question.encode())
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode()
