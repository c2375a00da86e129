"""``manage.py video --fail thumbnails``: publishes a film, and tells what happens."""

import secrets
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from examples.story import tell
from examples.video import files, sample
from examples.video.models import Video
from examples.video.saga import PublishVideo
from examples.video.uploading import BadUpload, upload

# What may be said for --fail, and the step it means.
STEPS = {
    "webp": "transcode_to_webp",
    "gif": "transcode_to_gif",
    "png": "transcode_to_png",
    "thumbnails": "make_thumbnails",
    "metadata": "read_metadata",
    "publish": "publish_video",
}


class Command(BaseCommand):
    help = "Publish a film, or a small one that is drawn if none is given, and tell what happens."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("film", nargs="?", type=Path, help="a GIF, WebP or PNG; with ffmpeg any film")
        parser.add_argument("--title", default="A ball that bounces")
        parser.add_argument("--fail", choices=STEPS, help="the step that says no")

    def handle(self, *args: Any, film: Path | None, title: str, fail: str | None, **options: Any) -> None:
        reference = secrets.token_hex(6)
        try:
            content = film.read_bytes() if film else sample.film()
            upload(reference, title, content, fail_at=STEPS[fail] if fail else "")
        except (OSError, BadUpload) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Video {reference}: {len(content):,} bytes are kept in {files.folder_of(reference)}")
        tell(PublishVideo.name, reference, self.stdout.write)
        video = Video.objects.get(reference=reference)
        self.stdout.write(f"The video is {video.status}{f': {video.reason}' if video.reason else '.'}")
        for name in files.names(reference) or ["No file is left."]:
            self.stdout.write(f"  | {name}")
