"""An upload comes in: its film is looked at and kept, and the saga that publishes it starts with its row."""

from django.db import transaction

from examples.video import files, media, services
from examples.video.models import Video
from examples.video.saga import PublishVideo, VideoData
from sagas.services import start

MAX_TITLE = 100


class BadUpload(ValueError):
    """The upload is refused; the message begins with the field at fault. Nothing was kept of it."""


def upload(reference: str, title: str, content: bytes, *, fail_at: str = "") -> Video:
    """Take a film in and start to publish it, once for each ``reference``; a second call returns the first video.

    The reference stands for this one film, as an idempotency key does for one request: repeat it with no other.
    What the file was called where it came from is not asked for: it would only be a way out of the folder.
    ``fail_at`` names the step that shall say no, for demonstrations. Raises `BadUpload`.
    """
    if not title.strip() or len(title) > MAX_TITLE:
        raise BadUpload(f"title needs 1 to {MAX_TITLE} characters")
    try:
        film = media.readable(content)
        known = Video.objects.filter(reference=reference).first()
        if known is not None:
            return known
        # Before the row, because who sees the row relies on the file. Who dies in between is asked again.
        files.write(reference, files.SOURCE, film)
    except (files.BadName, files.FolderRemoved, media.NotAVideo) as error:
        raise BadUpload(str(error)) from error
    with transaction.atomic():
        video = services.add_video(reference, title)
        start(PublishVideo, VideoData(reference, fail_at), key=reference)
    return video
