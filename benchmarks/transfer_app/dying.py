"""Where a process can be made to die: at the first place it passes for which a file stands in ``DEATHS``."""

import os
import signal
from pathlib import Path


def die_if_asked(place: str) -> None:
    folder = os.environ.get("DEATHS")
    if folder is None:
        return
    try:
        (Path(folder) / place).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
