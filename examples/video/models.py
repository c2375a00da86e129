"""Videos and the files that were made of them. The files themselves lie in `files`."""

from typing import ClassVar

from django.db import models


class Video(models.Model):
    """One upload. It is seen by the public from PUBLISHED on, and never again once it is WITHDRAWN."""

    class Status(models.TextChoices):
        UPLOADED = "UPLOADED", "Uploaded"
        PUBLISHED = "PUBLISHED", "Published"
        WITHDRAWN = "WITHDRAWN", "Withdrawn"

    objects: ClassVar["models.Manager[Video]"] = models.Manager()

    reference = models.CharField(max_length=40, unique=True)
    title = models.CharField(max_length=100)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.UPLOADED)
    reason = models.CharField(max_length=500, blank=True)
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)
    frames = models.PositiveIntegerField(null=True)
    milliseconds = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(status="PUBLISHED", published_at__isnull=False, frames__isnull=False)
                | (~models.Q(status="PUBLISHED") & models.Q(published_at__isnull=True)),
                name="video_published_with_its_time_and_metadata",
            ),
        ]
        indexes: ClassVar = [models.Index("status", models.F("id").desc(), name="video_by_status")]

    def __str__(self) -> str:
        return self.reference


class Rendition(models.Model):
    """A file that was made of a video: the video in a format, or a thumbnail."""

    objects: ClassVar["models.Manager[Rendition]"] = models.Manager()

    video = models.ForeignKey(Video, on_delete=models.CASCADE, related_name="renditions")
    name = models.CharField(max_length=40)
    size = models.PositiveIntegerField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint("video", "name", name="video_rendition_once")]

    def __str__(self) -> str:
        return self.name
