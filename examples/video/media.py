"""What is done to pictures: plain functions from bytes to bytes. Pillow makes them; ffmpeg reads real films."""

import io
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageSequence

MAX_BYTES = 5_000_000
MAX_FRAMES = 100
# Of all frames together, because they are held in memory, three bytes each, by several steps at a time.
MAX_PIXELS = 20_000_000
READ_WITHIN_S = 20
# What an upload may be, besides what ffmpeg reads where there is one.
ANIMATIONS = ("GIF", "WEBP", "PNG")
FORMATS = {"gif": "GIF", "webp": "WEBP", "png": "PNG"}
THUMBNAILS = 3
THUMBNAIL_SIZE = (96, 54)
_ANIMATION = re.compile(rb"GIF8|\x89PNG|RIFF....WEBP", re.DOTALL)
# Not the playlists that ffmpeg reads as well: they name other files, which whoever uploads must not choose.
_FILMS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
# All that Pillow raises for bytes that were spoiled at random.
_UNREADABLE = (
    OSError,
    EOFError,
    IndexError,
    RuntimeError,
    SyntaxError,
    ValueError,
    struct.error,
    Image.DecompressionBombError,
)
_DEFAULT_FRAME_MS = 100


class NotAVideo(ValueError):
    """These bytes cannot be read as a video; the message says why."""


@dataclass(frozen=True)
class Metadata:
    width: int
    height: int
    frames: int
    milliseconds: int


def metadata(film: bytes) -> Metadata:
    with _opened(film) as image:
        lengths = [_length(frame) for frame in ImageSequence.Iterator(image)]
        return Metadata(image.width, image.height, len(lengths), sum(lengths))


def transcoded(film: bytes, extension: str) -> bytes:
    """The whole film in another format, one of ``FORMATS``."""
    output = io.BytesIO()
    with _opened(film) as image:
        shown = [(frame.convert("RGB"), _length(frame)) for frame in ImageSequence.Iterator(image)]
        pictures, lengths = [picture for picture, _ in shown], [length for _, length in shown]
        pictures[0].save(
            output, FORMATS[extension], save_all=True, append_images=pictures[1:], duration=lengths, loop=0
        )
    return output.getvalue()


def thumbnails(film: bytes) -> list[bytes]:
    """Small pictures from the beginning, the middle and the end."""
    with _opened(film) as image:
        last = getattr(image, "n_frames", 1) - 1
        return [_thumbnail(image, last * nth // (THUMBNAILS - 1)) for nth in range(THUMBNAILS)]


def readable(upload: bytes) -> bytes:
    """The film as this module reads it: as it came, or through ffmpeg if it is one that Pillow cannot open.

    Raises `NotAVideo` for what is too big, too long, or nothing to look at.
    """
    if len(upload) > MAX_BYTES:
        raise NotAVideo(f"file has {len(upload):,} bytes: at most {MAX_BYTES:,} are taken")
    ffmpeg = shutil.which("ffmpeg")
    film = _through(ffmpeg, upload) if ffmpeg and not _ANIMATION.match(upload) else upload
    metadata(film)
    return film


@contextmanager
def _opened(film: bytes) -> Iterator[Image.Image]:
    """An image whose size is looked at before it is decoded: what it says it is may be anything."""
    try:
        with Image.open(io.BytesIO(film), formats=ANIMATIONS) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > MAX_FRAMES:
                raise NotAVideo(f"file has {frames} frames: at most {MAX_FRAMES} are taken")
            if frames * image.width * image.height > MAX_PIXELS:
                raise NotAVideo(
                    f"file has {frames} frames of {image.width} by {image.height}: "
                    f"at most {MAX_PIXELS:,} pixels in all are taken"
                )
            yield image
    except NotAVideo:
        raise
    except _UNREADABLE as error:
        raise NotAVideo("file is no animation that can be read: give a GIF, WebP or PNG") from error


def _length(frame: Image.Image) -> int:
    return int(frame.info.get("duration") or _DEFAULT_FRAME_MS)


def _thumbnail(image: Image.Image, frame: int) -> bytes:
    image.seek(frame)
    picture = image.convert("RGB")
    picture.thumbnail(THUMBNAIL_SIZE)
    output = io.BytesIO()
    picture.save(output, "JPEG", quality=80)
    return output.getvalue()


def _through(ffmpeg: str, upload: bytes) -> bytes:
    """The first seconds of a film, small, as an animated PNG."""
    with tempfile.TemporaryDirectory() as folder:
        source, film = Path(folder, "source"), Path(folder, "film")
        source.write_bytes(upload)
        command = [
            ffmpeg, "-v", "error", "-nostdin", "-protocol_whitelist", "file", "-format_whitelist", _FILMS,
            "-t", "10", "-i", str(source),
            "-vf", "fps=10,scale=320:-2", "-frames:v", str(MAX_FRAMES), "-plays", "0", "-f", "apng", str(film),
        ]  # fmt: skip
        try:
            subprocess.run(command, capture_output=True, timeout=READ_WITHIN_S, check=True)  # noqa: S603
        except subprocess.TimeoutExpired as error:
            raise NotAVideo(f"file could not be read within {READ_WITHIN_S} s") from error
        except subprocess.CalledProcessError as error:
            raise NotAVideo("file is neither an animation nor a film that can be read") from error
        return film.read_bytes()
