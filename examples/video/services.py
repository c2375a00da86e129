"""What may be done with the rows of videos. Each function joins its caller's transaction; all may be called twice."""

from collections.abc import Mapping, Sequence

from django.db.models.functions import Now

from examples.video.media import Metadata
from examples.video.models import Rendition, Video


def add_video(reference: str, title: str) -> Video:
    """The video of that reference; the second time the first one, unchanged."""
    video, _ = Video.objects.get_or_create(reference=reference, defaults={"title": title, "created_at": Now()})
    return video


def add_renditions(reference: str, sizes: Mapping[str, int]) -> None:
    """Note files with their sizes; those that are there already stay as they are."""
    video = Video.objects.get(reference=reference)
    Rendition.objects.bulk_create(
        [Rendition(video=video, name=name, size=size) for name, size in sizes.items()], ignore_conflicts=True
    )


def forget_renditions(reference: str, names: Sequence[str]) -> None:
    Rendition.objects.filter(video__reference=reference, name__in=names).delete()


def publish(reference: str, about: Metadata) -> None:
    """From now on the public may see it."""
    Video.objects.filter(reference=reference, status=Video.Status.UPLOADED).update(
        status=Video.Status.PUBLISHED,
        published_at=Now(),
        width=about.width,
        height=about.height,
        frames=about.frames,
        milliseconds=about.milliseconds,
    )


def withdraw(reference: str, reason: str) -> None:
    """It will not be published; ``reason`` is for who uploaded it."""
    Video.objects.filter(reference=reference, status=Video.Status.UPLOADED).update(
        status=Video.Status.WITHDRAWN, reason=reason[:500]
    )
