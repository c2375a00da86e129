"""CPU seconds of processes and of all they started, from /proc."""

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def seconds(pids: list[int]) -> float:
    """Of ``pids``, their living descendants and those that have ended and been waited for."""
    parents, spent = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, fields = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[pid] = int(fields[1])
        spent[pid] = sum(map(int, fields[11:15])) / TICK
    return sum(spent[pid] for pid in spent if _descends(pid, parents, set(pids)))


def _descends(pid: int, parents: dict[int, int], from_: set[int]) -> bool:
    while pid and pid not in from_:
        pid = parents.get(pid, 0)
    return pid in from_
