"""The folders of the videos. A file is there whole or not at all; a folder that was removed never comes back.

No transaction covers a file, so each promise is kept by one call of the file system: a file is written under another
name and renamed; a removed folder leaves a file in its place, in which nobody can write, however late they come.
"""

import os
import re
import secrets
import shutil
from pathlib import Path

from django.conf import settings

SOURCE = "source"
_UNFINISHED = ".unfinished-"
_REFERENCE = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")


class BadName(ValueError):
    """A reference or a name that could lead out of the folder of the videos."""


class FolderRemoved(Exception):
    """The video was removed; nothing is written for it any more."""


def folder_of(reference: str) -> Path:
    """Raises `BadName` unless the reference is lower case letters, digits and dashes."""
    if not _REFERENCE.fullmatch(reference):
        raise BadName(f"reference is {reference!r}: use at most 40 of a-z, 0-9 and -, not beginning with -")
    return Path(settings.VIDEO_DIR) / reference


def path_of(reference: str, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise BadName(f"name is {name!r}: use at most 40 of a-z, 0-9, . and -, beginning with a letter or digit")
    return folder_of(reference) / name


def write(reference: str, name: str, content: bytes) -> None:
    """Put a file there, whole; a second time it is replaced by the same.

    Raises `FolderRemoved` after `remove`, and `OSError` when there was no room: nothing has changed then.
    """
    target = path_of(reference, name)
    unfinished = target.with_name(f"{_UNFINISHED}{secrets.token_hex(8)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        except BaseException:
            _delete(unfinished)
            raise
        _make_durable(target.parent)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise FolderRemoved(f"{reference} was removed") from error


def read(reference: str, name: str) -> bytes:
    """Raises `FolderRemoved` if it is not there any more."""
    try:
        return path_of(reference, name).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FolderRemoved(f"{reference} has no {name}") from error


def delete(reference: str, name: str) -> None:
    """A file that is not there is fine."""
    _delete(path_of(reference, name))


def remove(reference: str) -> None:
    """Remove all files of a video for good. A second call, or one for a video that never was, is fine."""
    folder = folder_of(reference)
    folder.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            # The tombstone: from here on no folder of this name can be made.
            folder.touch(exist_ok=False)
        except FileExistsError:
            if folder.is_file():
                break
            _move_away(folder)
        else:
            break
    for removed in folder.parent.glob(f"{folder.name}.removed-*"):
        shutil.rmtree(removed)
    _make_durable(folder.parent)


def names(reference: str) -> list[str]:
    """The finished files of a video, in order; none for one that was removed."""
    folder = folder_of(reference)
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(_UNFINISHED))


def tidy(reference: str) -> None:
    """Delete what writers that were killed have left unfinished."""
    for unfinished in folder_of(reference).glob(f"{_UNFINISHED}*"):
        _delete(unfinished)


def _move_away(folder: Path) -> None:
    """Aside in one go, so that a file being written there right now misses its place."""
    try:
        folder.rename(folder.with_name(f"{folder.name}.removed-{secrets.token_hex(8)}"))
    except FileNotFoundError:
        return


def _delete(path: Path) -> None:
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return


def _make_durable(folder: Path) -> None:
    """A name is stored with its folder, not with its file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
