"""The outside world of `plans` for several processes: its books are files, read anew each time."""

import fcntl
import json
from collections import Counter
from collections.abc import Iterator, MutableMapping, MutableSet
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from django.db import connection

from sagas.testing import Witness
from tests.sagas.plans import World

# The step behind each word of `test_effect`.
STEPS = {
    "seat": "reserve_seat",
    "hotel": "reserve_hotel",
    "ticket": "book_flight",
    "paid": "pay",
    "parcel": "parcel_back",
    "cooled": "cool_off",
    "refunded": "give_money_back",
    "settled": "settle",
}


class Book(MutableMapping[str, str]):
    """A dictionary in a file. Nothing is ever written twice for one key, whoever comes first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    @contextmanager
    def _locked(self) -> Iterator[IO[str]]:
        with self.path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    def _read(self, file: IO[str]) -> dict[str, str]:
        return dict(json.loads(line) for line in file)

    def setdefault(self, key: str, default: str = "") -> str:
        with self._locked() as file:
            entries = self._read(file)
            if key not in entries:
                file.write(json.dumps([key, default]) + "\n")
            return entries.get(key, default)

    def __getitem__(self, key: str) -> str:
        with self._locked() as file:
            return self._read(file)[key]

    def __setitem__(self, key: str, value: str) -> None:
        self.setdefault(key, value)

    def __delitem__(self, key: str) -> None:
        raise TypeError("a book forgets nothing")

    def __iter__(self) -> Iterator[str]:
        with self._locked() as file:
            return iter(self._read(file))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def empty(self) -> None:
        self.path.write_text("")


class Marks(MutableSet[str]):
    """A set in a file."""

    def __init__(self, path: Path) -> None:
        self.book = Book(path)

    def __contains__(self, mark: object) -> bool:
        return mark in set(self.book)

    def __iter__(self) -> Iterator[str]:
        return iter(self.book)

    def __len__(self) -> int:
        return len(self.book)

    def add(self, mark: str) -> None:
        self.book.setdefault(mark)

    def discard(self, mark: str) -> None:
        raise TypeError("a book forgets nothing")


class SharedWorld(World):
    """What was booked, cancelled and sent stands in files; local effects in `test_effect`."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.booked = Book(folder / "booked")  # type: ignore[assignment]
        self.cancelled = Marks(folder / "cancelled")  # type: ignore[assignment]
        self.sent = Marks(folder / "sent")  # type: ignore[assignment]

    def rebuild(self) -> None:
        for path in (self.booked.path, self.cancelled.book.path, self.sent.book.path):
            path.write_text("")
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM test_effect")

    def witness(self) -> Witness:
        keys = [*self.booked, *self.sent]
        taken = Counter(half_of(key) for key in keys)
        taken.update(half_of(key.replace(":action", ":compensation")) for key in self.cancelled)
        standing = {half_of(key).split(":")[0] for key in keys if key not in self.cancelled}
        return Witness(taken, frozenset(standing | local_steps()))


def half_of(key: str) -> str:
    """The step and the side of an idempotency key."""
    _, step, side, *_ = key.split(":")
    return f"{step}:{side}"


def local_steps() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT what FROM test_effect")
        words = {what.split()[0] for (what,) in cursor.fetchall()}
    return {STEPS[word] for word in words if word in STEPS}
