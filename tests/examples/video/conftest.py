from pathlib import Path
from typing import Any

import pytest

from examples.video import sample


@pytest.fixture(autouse=True)
def video_dir(settings: Any, tmp_path: Path) -> Path:
    """A folder for the videos of this test."""
    settings.VIDEO_DIR = tmp_path / "video"
    return settings.VIDEO_DIR


@pytest.fixture(scope="session")
def film() -> bytes:
    """As small as a film can be that still moves."""
    return sample.film(frames=3, size=(32, 18))
