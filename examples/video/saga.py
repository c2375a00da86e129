"""From an upload to a published video, or back to nothing."""

from examples.video.services import add_video
from examples.video.steps import (
    VideoData,
    delete_files,
    make_thumbnails,
    publish_video,
    read_metadata,
    remove_video,
    tidy_up,
    transcode_to_gif,
    transcode_to_png,
    transcode_to_webp,
)
from sagas.definition import Begin, Lock, Parallel, Pivot, RemoteStep, Saga, minutes, seconds

__all__ = ["PublishVideo", "VideoData"]

LONG = seconds(30)


class PublishVideo(Saga[VideoData]):
    name, version = "video.publish", 1
    deadline = minutes(15)
    locks = (Lock[VideoData]("video", lambda data: data.reference),)

    steps = (
        Begin(add_video, compensation=remove_video),
        Parallel(
            RemoteStep(transcode_to_webp, compensation=delete_files, timeout=LONG),
            RemoteStep(transcode_to_gif, compensation=delete_files, timeout=LONG),
            RemoteStep(transcode_to_png, compensation=delete_files, timeout=LONG),
        ),
        Parallel(
            RemoteStep(make_thumbnails, compensation=delete_files),
            RemoteStep(read_metadata, reads_only=True),
        ),
        Pivot(publish_video),
        RemoteStep(tidy_up, skippable=True),
    )
