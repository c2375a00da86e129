import io
import random
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest
from PIL import Image

from examples.video import media, sample
from examples.video.media import Metadata, NotAVideo


@pytest.mark.parametrize("extension", ["gif", "webp", "png"])
def test_a_film_in_another_format_is_as_long_and_as_big(extension: str, film: bytes):
    other = media.transcoded(film, extension)

    assert Image.open(io.BytesIO(other)).format == media.FORMATS[extension]
    assert media.metadata(other) == media.metadata(film) == Metadata(width=32, height=18, frames=3, milliseconds=300)


def test_the_thumbnails_are_the_beginning_the_middle_and_the_end():
    film = sample.film(frames=5, size=(192, 108))

    pictures = [Image.open(io.BytesIO(picture)) for picture in media.thumbnails(film)]

    assert [(picture.format, picture.size) for picture in pictures] == [("JPEG", (96, 54))] * 3
    assert len({picture.tobytes() for picture in pictures}) == 3


def test_an_upload_that_is_no_film_is_refused():
    with pytest.raises(NotAVideo, match=r"no animation that can be read|neither an animation nor a film"):
        media.readable(b"<script>")


def test_an_upload_that_is_cut_off_is_refused():
    with pytest.raises(NotAVideo, match="no animation that can be read"):
        media.readable(media.transcoded(sample.film(), "png")[:400])


def test_an_upload_with_too_many_bytes_is_refused():
    with pytest.raises(NotAVideo, match=r"5,000,001 bytes: at most 5,000,000"):
        media.readable(b"x" * 5_000_001)


def test_an_upload_with_too_many_pixels_is_refused(film: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(media, "MAX_PIXELS", 3 * 32 * 18)
    media.readable(film)

    monkeypatch.setattr(media, "MAX_PIXELS", 3 * 32 * 18 - 1)
    with pytest.raises(NotAVideo, match="3 frames of 32 by 18: at most 1,727 pixels"):
        media.readable(film)


def test_an_upload_that_is_too_long_is_refused():
    with pytest.raises(NotAVideo, match="101 frames: at most 100"):
        media.readable(sample.film(frames=101))


needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="no ffmpeg on this machine (Debian: apt-get install ffmpeg)"
)


@needs_ffmpeg
def test_a_real_film_is_read_through_ffmpeg(tmp_path: Path):
    """A second of a test picture; without a codec of its own ffmpeg always has this one."""
    path = tmp_path / "film.avi"
    pattern = ["-f", "lavfi", "-i", "testsrc=duration=1:size=160x120:rate=10"]
    subprocess.run(["ffmpeg", "-v", "error", *pattern, "-c:v", "mpeg4", str(path)], check=True, timeout=30)

    film = media.readable(path.read_bytes())

    assert media.metadata(film) == Metadata(width=320, height=240, frames=10, milliseconds=1000)


@needs_ffmpeg
def test_a_playlist_cannot_make_ffmpeg_read_another_file(tmp_path: Path):
    other = tmp_path / "other.gif"
    other.write_bytes(sample.film())

    for playlist in (f"#EXTM3U\n#EXTINF:1,\nfile://{other}\n", f"ffconcat version 1.0\nfile '{other}'\n"):
        with pytest.raises(NotAVideo, match="neither an animation nor a film"):
            media.readable(playlist.encode())


def test_bytes_spoiled_at_random_are_refused_or_read(film: bytes):
    draw = random.Random(3)
    films = [film, media.transcoded(film, "png"), media.transcoded(film, "webp")]
    refused = 0
    for _ in range(300):
        spoiled = bytearray(draw.choice(films))
        for _ in range(draw.randint(1, 6)):
            spoiled[draw.randrange(len(spoiled))] = draw.randrange(256)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Pillow, about what it can still make something of
                media.thumbnails(bytes(spoiled))
        except NotAVideo:
            refused += 1

    assert 100 < refused < 300
