"""What has to happen, said in memory; files and rows are for the other tests."""

from examples.video.saga import PublishVideo
from examples.video.steps import (
    make_thumbnails,
    publish_video,
    read_metadata,
    tidy_up,
    transcode_to_gif,
)
from sagas.definition import newest
from sagas.testing import play, refused, unknown


def test_a_film_is_published():
    played = play(PublishVideo)

    assert played.status == "COMPLETED"
    assert played.trace == [
        "transcode_to_webp done",
        "transcode_to_gif done",
        "transcode_to_png done",
        "make_thumbnails done",
        "read_metadata done",
        "publish_video done",
        "tidy_up done",
    ]


def test_thumbnails_that_fail_take_everything_back():
    played = play(PublishVideo, {make_thumbnails: refused("not_a_video")})

    assert played.status == "COMPENSATED"
    assert played.trace[3:] == [
        "make_thumbnails refused",
        "read_metadata done",
        *["delete_files done"] * 3,
        "remove_video done",
    ]


def test_one_format_that_fails_takes_back_the_others():
    played = play(PublishVideo, {transcode_to_gif: refused("not_a_video")})

    assert played.status == "COMPENSATED"
    assert played.trace[-3:] == ["delete_files done", "delete_files done", "remove_video done"]


def test_a_format_whose_worker_died_is_made_again():
    played = play(PublishVideo, {transcode_to_gif: unknown()})

    assert played.status == "COMPLETED"
    assert played.trace.count("transcode_to_gif done") == 1


def test_what_is_published_stays_published():
    played = play(PublishVideo, {tidy_up: refused()})

    assert played.status == "SUSPENDED"
    assert played.action(publish_video) == "SUCCEEDED"
    assert played.action(read_metadata) == "SUCCEEDED"


def test_the_formats_are_made_side_by_side_before_the_pivot():
    plan = newest("video.publish")

    assert plan is not None
    assert [(step.name, step.place, str(step.kind)) for step in plan.steps] == [
        ("add_video", 0, "COMPENSATABLE"),
        ("transcode_to_webp", 1, "COMPENSATABLE"),
        ("transcode_to_gif", 1, "COMPENSATABLE"),
        ("transcode_to_png", 1, "COMPENSATABLE"),
        ("make_thumbnails", 2, "COMPENSATABLE"),
        ("read_metadata", 2, "COMPENSATABLE"),
        ("publish_video", 3, "PIVOT"),
        ("tidy_up", 4, "RETRIABLE"),
    ]
