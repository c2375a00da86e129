"""Uploads, published and taken back: rows, files and what people see of them."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from examples.video import files, media
from examples.video.management.commands.video import STEPS
from examples.video.models import Rendition, Video
from examples.video.saga import PublishVideo
from examples.video.steps import MADE_BY
from examples.video.uploading import BadUpload, upload
from sagas.driver import drain_due
from sagas.selectors import saga_of
from tests.plans_of_lists import fill, plans

pytestmark = pytest.mark.django_db(transaction=True)

MADE = sorted(name for names in MADE_BY.values() for name in names)


def test_an_upload_is_published_with_all_its_files(film: bytes):
    upload("v1", "A ball", film)
    drain_due()

    video = Video.objects.get()
    assert (video.status, video.title) == ("PUBLISHED", "A ball")
    assert (video.width, video.height, video.frames, video.milliseconds) == (32, 18, 3, 300)
    assert video.published_at is not None
    sizes = {rendition.name: rendition.size for rendition in video.renditions.all()}
    assert sizes == {name: len(files.read("v1", name)) for name in MADE}
    assert files.names("v1") == sorted([*MADE, "source"])
    assert media.metadata(files.read("v1", "video.webp")) == media.metadata(film)


@pytest.mark.parametrize("word", STEPS)
def test_a_step_that_fails_leaves_no_file(word: str, film: bytes, video_dir: Path):
    upload("v1", "A ball", film, fail_at=STEPS[word])
    drain_due()

    video = Video.objects.get()
    assert (video.status, video.reason) == ("WITHDRAWN", f"{STEPS[word]} was asked to fail")
    assert not Rendition.objects.exists()
    assert [(path.name, path.read_bytes()) for path in video_dir.iterdir()] == [("v1", b"")]
    saga = saga_of(PublishVideo.name, "v1")
    assert saga is not None
    assert saga.status == "COMPENSATED"


def test_what_each_step_made_is_deleted_before_the_upload_itself(film: bytes, monkeypatch: pytest.MonkeyPatch):
    upload("v1", "A ball", film, fail_at="publish_video")

    def disk_is_away(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(files, "remove", disk_is_away)
        drain_due()

    assert files.names("v1") == ["source"]
    assert not Rendition.objects.exists()
    assert Video.objects.get().status == "UPLOADED"


def test_a_full_disk_is_waited_for(film: bytes, monkeypatch: pytest.MonkeyPatch):
    upload("v1", "A ball", film)

    def disk_is_full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files, "write", disk_is_full)
        drain_due()
    saga = saga_of(PublishVideo.name, "v1")

    assert saga is not None
    assert saga.status == "WAITING"
    assert saga.waiting_on["why"] == "[Errno 28] No space left on device"
    assert Video.objects.get().status == "UPLOADED"


def test_an_upload_that_is_repeated_is_one_video(film: bytes):
    first = upload("v1", "A ball", film)
    second = upload("v1", "Another title", film)

    assert first == second
    assert Video.objects.get().title == "A ball"


@pytest.mark.parametrize(
    ("reference", "title", "content", "message"),
    [
        ("../../etc", "A ball", None, "reference is '../../etc'"),
        ("v1", " ", None, "title needs 1 to 100 characters"),
        ("v1", "x" * 101, None, "title needs 1 to 100 characters"),
        ("v1", "A ball", b"GIF89a, they say", "file is no animation"),
    ],
)
def test_a_bad_upload_names_its_field_and_leaves_nothing(
    reference: str, title: str, content: bytes | None, message: str, film: bytes, tmp_path: Path
):
    with pytest.raises(BadUpload, match=message):
        upload(reference, title, film if content is None else content)

    assert not Video.objects.exists()
    assert saga_of(PublishVideo.name, reference) is None
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_uploaded_again_for_a_removed_video(film: bytes):
    files.remove("v1")

    with pytest.raises(BadUpload, match="v1 was removed"):
        upload("v1", "A ball", film)

    assert not Video.objects.exists()


def test_the_command_tells_how_a_film_is_published():
    told = StringIO()
    call_command("video", stdout=told)

    lines = told.getvalue().splitlines()
    assert sorted(lines[1:4]) == [f"  + transcode_to_{extension} done" for extension in ("gif", "png", "webp")]
    assert "The saga is COMPLETED. Done." in lines
    assert lines[-8:] == ["The video is PUBLISHED.", *(f"  | {name}" for name in sorted([*MADE, "source"]))]


def test_the_command_tells_how_everything_is_taken_back():
    told = StringIO()
    call_command("video", "--fail", "thumbnails", stdout=told)

    lines = told.getvalue().splitlines()
    assert "  x make_thumbnails refused: make_thumbnails was asked to fail" in lines
    assert "  - takes back transcode_to_gif done" in lines
    assert lines[-2:] == ["The video is WITHDRAWN: make_thumbnails was asked to fail", "  | No file is left."]


def test_the_command_says_what_is_wrong_with_a_film(tmp_path: Path):
    (tmp_path / "film.gif").write_bytes(b"no film")

    with pytest.raises(CommandError, match="file is n"):
        call_command("video", str(tmp_path / "film.gif"))
    with pytest.raises(CommandError, match="No such file"):
        call_command("video", str(tmp_path / "missing.gif"))


def test_the_admin_shows_how_far_a_video_has_come(film: bytes, client: Client):
    viewer = User.objects.create_user("vera", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__in=["view_video", "view_rendition"]))
    client.force_login(viewer)
    upload("v1", "A ball", film)

    before = client.get(reverse("admin:video_video_changelist"))
    drain_due()
    after = client.get(reverse("admin:video_video_changelist"))
    page = client.get(reverse("admin:video_video_change", args=[Video.objects.get().pk]))

    assert '<progress aria-label="files made" max="6" value="0"></progress> 0 of 6' in before.content.decode()
    assert '<progress aria-label="files made" max="6" value="6"></progress> 6 of 6' in after.content.decode()
    assert "Completed</a>: Done." in page.content.decode()
    assert "thumbnail-3.jpg" in page.content.decode()


def test_the_admin_shows_nothing_to_staff_without_permission_and_lets_nobody_write(film: bytes, client: Client):
    upload("v1", "A ball", film)
    page = reverse("admin:video_video_change", args=[Video.objects.get().pk])
    client.force_login(User.objects.create_user("sam", is_staff=True))

    assert client.get(reverse("admin:video_video_changelist")).status_code == 403
    assert client.get(page).status_code == 403
    client.force_login(User.objects.create_superuser("root"))
    assert client.post(page, {"title": "Mine"}).status_code == 403
    assert Video.objects.get().title == "A ball"


@pytest.mark.parametrize("query", ["q=v77", "reference=v77", "status__exact=WITHDRAWN"])
def test_what_is_asked_of_the_list_is_found_by_an_index(query: str, admin_client: Client):
    fill(
        "video_video",
        "reference, title, status, reason, created_at",
        "'v' || n, '', CASE n % 1000 WHEN 0 THEN 'WITHDRAWN' ELSE 'UPLOADED' END, '', now()",
    )
    fill("video_rendition", "video_id, name, size", "(SELECT min(id) FROM video_video) + n - 1, 'video.gif', 5")

    plan = plans(admin_client, f"/admin/video/video/?{query}", "video_video")

    assert "Seq Scan" not in plan
    assert "Index" in plan
