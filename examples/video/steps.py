"""The steps of `saga`, beside their compensations.

Work on files is remote: the call writes or deletes them, and the commit with its outcome notes that in the rows.
A call may come twice, and a compensation while the work it undoes is still under way: `files` makes both harmless.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from examples.video import files, media, services
from examples.video.media import Metadata
from sagas.definition import Context, remote
from sagas.outcomes import Refused, Transient

# What each step makes.
MADE_BY = {
    "transcode_to_webp": ("video.webp",),
    "transcode_to_gif": ("video.gif",),
    "transcode_to_png": ("video.png",),
    "make_thumbnails": tuple(f"thumbnail-{nth + 1}.jpg" for nth in range(media.THUMBNAILS)),
}


@dataclass(frozen=True)
class VideoData:
    """``fail_at`` is for demonstrations: the step that says no."""

    reference: str
    fail_at: str = ""


@dataclass(frozen=True)
class Made:
    """The sizes of the files that a step has made."""

    sizes: dict[str, int]


Ctx = Context[VideoData]


def withdraw_video(ctx: Ctx, receipt: None) -> None:
    services.withdraw(ctx.data.reference, ctx.failure.message if ctx.failure else "")


@remote(record=withdraw_video)
def remove_video(ctx: Ctx, receipt: None) -> None:
    """The whole folder, for good: what a lost worker writes too late finds no place any more."""
    with _outcomes():
        files.remove(ctx.data.reference)


def note_files(ctx: Ctx, made: Made) -> None:
    services.add_renditions(ctx.data.reference, made.sizes)


def forget_files(ctx: Ctx, receipt: None) -> None:
    services.forget_renditions(ctx.data.reference, MADE_BY[ctx.step])


@remote(record=note_files)
def transcode_to_webp(ctx: Ctx, request: None) -> Made:
    return _make(ctx, lambda film: [media.transcoded(film, "webp")])


@remote(record=note_files)
def transcode_to_gif(ctx: Ctx, request: None) -> Made:
    return _make(ctx, lambda film: [media.transcoded(film, "gif")])


@remote(record=note_files)
def transcode_to_png(ctx: Ctx, request: None) -> Made:
    return _make(ctx, lambda film: [media.transcoded(film, "png")])


@remote(record=note_files)
def make_thumbnails(ctx: Ctx, request: None) -> Made:
    return _make(ctx, media.thumbnails)


@remote(record=forget_files)
def delete_files(ctx: Ctx, receipt: Made | None) -> None:
    """What the step has made, or may have made if there is no receipt."""
    with _outcomes():
        for name in MADE_BY[ctx.step]:
            files.delete(ctx.data.reference, name)


@remote()
def read_metadata(ctx: Ctx, request: None) -> Metadata:
    _refuse_if_asked(ctx)
    with _outcomes():
        return media.metadata(files.read(ctx.data.reference, files.SOURCE))


def publish_video(ctx: Ctx) -> None:
    _refuse_if_asked(ctx)
    services.publish(ctx.data.reference, ctx.receipt_of(read_metadata))


@remote()
def tidy_up(ctx: Ctx, request: None) -> None:
    """What workers that were killed in the middle of a file have left of it."""
    with _outcomes():
        files.tidy(ctx.data.reference)


def _make(ctx: Ctx, work: Callable[[bytes], list[bytes]]) -> Made:
    """Do the work on the film and keep what it makes under the names of the step."""
    _refuse_if_asked(ctx)
    with _outcomes():
        made = dict(zip(MADE_BY[ctx.step], work(files.read(ctx.data.reference, files.SOURCE)), strict=True))
        for name, content in made.items():
            files.write(ctx.data.reference, name, content)
    return Made({name: len(content) for name, content in made.items()})


def _refuse_if_asked(ctx: Ctx) -> None:
    if ctx.data.fail_at == ctx.step:
        raise Refused("asked_to_fail", f"{ctx.step} was asked to fail")


@contextmanager
def _outcomes() -> Iterator[None]:
    """What can happen to files, in the engine's words. A file that is not whole was not renamed: nothing is there."""
    try:
        yield
    except media.NotAVideo as error:
        raise Refused("not_a_video", str(error)) from error
    except files.FolderRemoved as error:
        raise Refused("removed", str(error)) from error
    except OSError as error:
        raise Transient(str(error)) from error
