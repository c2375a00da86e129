"""Publishing, broken at every boundary that it has: no file without its row, none left of what was taken back."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.video import files
from examples.video.models import Rendition, Video
from examples.video.saga import PublishVideo
from examples.video.steps import MADE_BY
from examples.video.uploading import upload
from sagas.testing import Witness, verify
from tests.thinning import SEED, share_of

pytestmark = pytest.mark.django_db(transaction=True)

STEP_OF = {name: step for step, names in MADE_BY.items() for name in names}


class VideoWorld:
    """The folder and the rows. A file that is written twice is one file, so no effect can be there twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rebuild(self) -> None:
        Video.objects.all().delete()
        shutil.rmtree(self.folder, ignore_errors=True)

    def witness(self) -> Witness:
        left = {STEP_OF.get(name, "add_video") for name in files.names("v1")}
        left |= {STEP_OF[name] for name in Rendition.objects.values_list("name", flat=True)}
        if Video.objects.filter(status=Video.Status.PUBLISHED).exists():
            left.add("publish_video")
        return Witness(Counter(f"{step}:action" for step in left), frozenset(left))

    def violations(self) -> Iterator[str]:
        """Files and rows agree wherever nothing is under way any more."""
        lying = [path.name for path in self.folder.iterdir() if path.is_dir() and path.name != "v1"]
        yield from (f"{name} was moved away and not deleted" for name in lying)
        for video in Video.objects.all():
            noted = {rendition.name: rendition.size for rendition in video.renditions.all()}
            there = {name: len(files.read("v1", name)) for name in files.names("v1") if name != files.SOURCE}
            if video.status == Video.Status.WITHDRAWN and (noted or there or files.names("v1")):
                yield f"it is withdrawn, but there are the rows {noted} and the files {files.names('v1')}"
            if video.status == Video.Status.PUBLISHED and not (noted == there and noted.keys() == STEP_OF.keys()):
                yield f"it is published, but there are the rows {noted} and the files {there}"


@pytest.mark.verify
def test_publishing_withstands_everything(video_dir: Path, film: bytes):
    world = VideoWorld(video_dir)

    proof = verify(
        PublishVideo,
        start=lambda: upload("v1", "A ball", film),
        world=world,
        invariants=[world.violations],
        share=share_of(0.03),
        seed=SEED,
    )

    assert (proof.violations, proof.never_passed) == ([], [])
