"""Folders for Unix sockets: private, and short enough for the kernel."""

import hashlib
import os
import sys
import tempfile
from pathlib import Path

LONGEST_SOCKET_PATH = 107 if sys.platform.startswith("linux") else 103


def socket_folder(data_dir: Path, service: str, socket_name: str) -> Path:
    """A private folder for the socket of one service: inside ``data_dir``, or a short one where the path is too long.

    The same ``data_dir`` always gets the same folder.
    """
    folder = data_dir / f"{service}-socket"
    if len(os.fsencode(folder / socket_name)) > LONGEST_SOCKET_PATH:
        digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
        folder = Path(tempfile.gettempdir()) / f"shop-{os.geteuid()}-{digest}-{service}"
    return folder


def make_private(folder: Path, owner: int) -> None:
    """Make ``folder`` for ``owner`` alone.

    Raises `PermissionError` if somebody else made it first, to read what we send.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.lstat().st_uid not in (os.geteuid(), owner):
        raise PermissionError(f"{folder} belongs to somebody else: remove it, or choose a shorter DATA_DIR.")
    folder.chmod(0o700)
    if folder.lstat().st_uid != owner:
        os.chown(folder, owner, -1)
