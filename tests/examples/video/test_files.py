import os
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest

from examples.video import files


def test_a_file_is_written_once_however_often(video_dir: Path):
    files.write("v1", "video.gif", b"GIF")
    files.write("v1", "video.gif", b"GIF")

    assert files.names("v1") == ["video.gif"]
    assert files.read("v1", "video.gif") == b"GIF"
    assert [path.name for path in (video_dir / "v1").iterdir()] == ["video.gif"]


@pytest.mark.parametrize("reference", ["", ".", "..", "../v1", "a/b", "a\\b", "A", "-rf", "v1\n", "a\0", "a" * 41, "é"])
def test_a_reference_cannot_lead_out_of_the_folder(reference: str, video_dir: Path):
    with pytest.raises(files.BadName, match="reference is"):
        files.write(reference, "video.gif", b"GIF")
    with pytest.raises(files.BadName, match="reference is"):
        files.remove(reference)

    assert not video_dir.exists()


@pytest.mark.parametrize("name", ["", "..", ".hidden", "../v2", "a/b", "/etc/passwd", "a\0"])
def test_a_name_cannot_lead_out_of_the_folder(name: str, video_dir: Path):
    with pytest.raises(files.BadName, match="name is"):
        files.write("v1", name, b"GIF")
    with pytest.raises(files.BadName, match="name is"):
        files.delete("v1", name)

    assert not video_dir.exists()


def test_a_write_that_fails_in_the_middle_leaves_nothing(monkeypatch: pytest.MonkeyPatch, video_dir: Path):
    files.write("v1", "video.gif", b"as it was")

    def disk_is_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_is_full)

    with pytest.raises(OSError, match="No space left"):
        files.write("v1", "video.gif", b"as it should be")

    assert [path.name for path in (video_dir / "v1").iterdir()] == ["video.gif"]
    assert files.read("v1", "video.gif") == b"as it was"


def test_deleting_is_done_once_however_often():
    files.write("v1", "video.gif", b"GIF")

    files.delete("v1", "video.gif")
    files.delete("v1", "video.gif")

    assert files.names("v1") == []


def test_a_removed_video_takes_no_file_any_more(video_dir: Path):
    files.write("v1", "video.gif", b"GIF")

    files.remove("v1")
    files.remove("v1")

    with pytest.raises(files.FolderRemoved):
        files.write("v1", "video.gif", b"too late")
    with pytest.raises(files.FolderRemoved):
        files.read("v1", "video.gif")
    files.delete("v1", "video.gif")
    assert files.names("v1") == []
    assert [(path.name, path.read_bytes()) for path in video_dir.iterdir()] == [("v1", b"")]


def test_a_video_that_never_was_is_removed_before_it_comes():
    files.remove("v1")

    with pytest.raises(files.FolderRemoved):
        files.write("v1", "source", b"GIF")


def test_a_file_that_is_being_written_during_the_removal_finds_no_place(
    monkeypatch: pytest.MonkeyPatch, video_dir: Path
):
    fsync = os.fsync

    def removed_meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        files.remove("v1")

    monkeypatch.setattr(os, "fsync", removed_meanwhile)

    with pytest.raises(files.FolderRemoved):
        files.write("v1", "video.gif", b"GIF")

    assert [(path.name, path.read_bytes()) for path in video_dir.iterdir()] == [("v1", b"")]


def test_writers_and_a_remover_leave_nothing_whoever_comes_first(video_dir: Path):
    for nth in range(20):
        reference, together = f"v{nth}", Barrier(4)

        def write(reference: str = reference, together: Any = together) -> None:
            together.wait()
            try:
                files.write(reference, "video.gif", b"GIF")
            except files.FolderRemoved:
                return

        writers = [Thread(target=write) for _ in range(3)]
        for writer in writers:
            writer.start()
        together.wait()
        files.remove(reference)
        for writer in writers:
            writer.join()

    assert {path.name for path in video_dir.iterdir()} == {f"v{nth}" for nth in range(20)}
    assert all(path.is_file() for path in video_dir.iterdir())


def test_what_a_killed_writer_left_is_tidied_away(video_dir: Path):
    files.write("v1", "video.gif", b"GIF")
    (video_dir / "v1" / ".unfinished-0123").write_bytes(b"half a fi")

    assert files.names("v1") == ["video.gif"]
    files.tidy("v1")

    assert [path.name for path in (video_dir / "v1").iterdir()] == ["video.gif"]
