"""Who PostgreSQL runs as: it refuses to be root.

A user namespace leaves no trace and is tried first; containers often forbid it. Then `nobody`,
who must be able to reach the binaries and the data.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from config.embedded.service import Identity, ServiceFailed, launcher_command


@cache
def server_identity() -> Identity:
    """How a server that refuses root is started by this user on this machine."""
    if os.geteuid() != 0:
        return "self"
    return "namespace" if runs("namespace", shutil.which("true") or "/bin/true") else "nobody"


def server_uid() -> int:
    """The owner, on disk, of what the server writes."""
    return pwd.getpwnam("nobody").pw_uid if server_identity() == "nobody" else os.geteuid()


def runs(identity: Identity, *command: str) -> bool:
    completed = subprocess.run(launcher_command(command, identity), check=False, capture_output=True)  # noqa: S603
    return completed.returncode == 0


def reachable_binaries(folder: Path, program: str) -> Path:
    """``folder`` (with ``bin/program`` in it), or a copy of it where `nobody` cannot reach the original."""
    if server_identity() != "nobody" or runs("nobody", str(folder / "bin" / program), "--version"):
        return folder
    stamp = (folder / "bin" / program).stat().st_mtime_ns
    copy = Path(tempfile.gettempdir()) / f"shop-postgres-{folder.name}-{stamp:x}"
    if not copy.exists():
        unfinished = Path(tempfile.mkdtemp(prefix=f"{copy.name}-"))
        shutil.copytree(folder, unfinished, symlinks=True, dirs_exist_ok=True)
        unfinished.chmod(0o755)
        unfinished.rename(copy)
    if copy.lstat().st_uid != 0:
        raise ServiceFailed(f"{copy} was not made by root: remove it.")
    return copy


def hand_over(folder: Path) -> None:
    """Give ``folder``, a new one inside the data folder, to the user the server runs as."""
    if server_identity() != "nobody":
        return
    os.chown(folder, server_uid(), -1)
    folder.parent.chmod(0o711)
    for parent in folder.parents:
        if not parent.stat().st_mode & 0o001:
            raise ServiceFailed(
                "PostgreSQL does not run as root, this machine forbids user namespaces, and the user nobody may "
                f"not enter {parent}: set DATA_DIR to a folder that everybody may enter, such as /var/tmp/shop, "
                "or run as another user."
            )
