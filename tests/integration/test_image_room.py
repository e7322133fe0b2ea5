"""The image store keeps room free: an upload that would take it is refused, and leaves nothing."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import TooLarge
from app.images import store
from app.models import Image
from app.store import images
from app.store.database import transaction
from app.web.factory import create_app
from tests.integration.web_fixtures import Site, adopt_settings

pytest_plugins = ["tests.integration.web_fixtures"]
MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, timeout=10, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=10)


def test_an_upload_that_would_not_fit_is_refused_by_its_length(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    about = {"name": "big", "disk_format": "raw", "container_format": "bare"}
    image_id = site.post("/image/v2/images", json=about).json["id"]
    settings = adopt_settings(monkeypatch, site.directory, image_store_free_gb="1000000")
    full = Site(create_app(settings), site.directory)
    put = full.upload(image_id, b"x" * 4096)
    assert put.status_code == 413
    assert "The image store is full" in put.text
    assert "1024000000 MiB must stay so" in put.text
    assert site.get(f"/image/v2/images/{image_id}").json["status"] == "queued"
    assert list((site.directory / "images").iterdir()) == []


def test_an_upload_takes_the_room_that_a_rotation_freed(site: Site):
    old = site.add_image()
    with transaction() as session:  # as a rotation leaves it, where there is no image store
        row = session.get_one(Image, old)
        assert row.file_name is not None
        kept = site.directory / "images" / row.file_name
        row.status, row.deleted_at = images.DELETED, 1.0
    assert kept.exists()
    site.add_image()
    assert not kept.exists()


def test_an_upload_of_unknown_length_ends_where_the_room_does(small_disk: Path):
    with store.draft(small_disk, "image") as draft:
        with pytest.raises(TooLarge, match="The image store is full") as caught:
            draft.receive(io.BytesIO(bytes(8 * MIB)), 64 * MIB, None, reserve=3 * MIB)
        assert caught.value.code == "image_store_full"
        assert draft.path.stat().st_size == 5 * MIB
    assert list(small_disk.iterdir()) == []


def test_what_fits_is_taken(small_disk: Path):
    with store.draft(small_disk, "image") as draft:
        sums = draft.receive(io.BytesIO(bytes(4 * MIB)), 64 * MIB, 4 * MIB, reserve=3 * MIB)
        draft.publish("image")
    assert (small_disk / "image").stat().st_size == sums.size == 4 * MIB
