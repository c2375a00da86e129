"""Become another program, tied to the life of the process that started it.

Run as a script: ``launch.py PARENT_PID DEATH_SIGNAL IDENTITY COMMAND...``. A small program of its
own and not a ``preexec_fn``, because that runs between fork and exec, where Python may deadlock.
Standard library only, and no import of this project: it has to start in milliseconds.
"""

import ctypes
import os
import pwd
import signal
import sys

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
OVERFLOW_ID = 65534  # the user `nobody`


def main(arguments: list[str]) -> None:
    parent, death_signal, identity, *command = arguments
    if identity == "namespace":
        enter_user_namespace()
    elif identity == "nobody":
        become_nobody()
    # After the change of identity, which clears it.
    die_with_parent(int(parent), int(death_signal))
    os.execv(command[0], command)  # noqa: S606 - the whole job of this script


def enter_user_namespace() -> None:
    """Look like `nobody` to ourselves while every file stays root's. PostgreSQL refuses uid 0."""
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"unshare: {os.strerror(code)}")
    for name, content in (
        ("uid_map", f"{OVERFLOW_ID} {user} 1"),
        ("setgroups", "deny"),
        ("gid_map", f"{OVERFLOW_ID} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)


def become_nobody() -> None:
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)


def die_with_parent(parent: int, death_signal: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:  # it died before the call
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
