"""Images over HTTP: records, uploads and their edge cases, downloads."""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from app.domain.caller import Caller
from app.errors import TooLarge
from app.images import access, store
from app.images.keys import load_keys
from app.store import image_data
from app.store.database import reading, transaction
from app.web.factory import create_app
from app.web.image import uploads
from tests.integration.web_fixtures import OCTETS, Site, adopt_settings, seeded_database, site

__all__ = ["seeded_database", "site"]
IMAGES = "/image/v2/images"


def qcow2(size: int = 1 << 20, backing: int = 0, features: int = 0, version: int = 3) -> bytes:
    """A qcow2 header of a disk of `size` bytes, and nothing behind it."""
    head = struct.pack(">4sIQIIQ", b"QFI\xfb", version, backing, 0, 16, size)
    return (head.ljust(72, b"\0") + struct.pack(">Q", features)).ljust(65536, b"\0")


def left_on_disk(site: Site) -> list[str]:
    """All files in the image store."""
    directory = site.directory / "images"
    return sorted(os.listdir(directory)) if directory.exists() else []


def record(site: Site, user: str = "novella", **more: object) -> str:
    """A new image without data; its id."""
    body = {"name": "i", "disk_format": "qcow2", "container_format": "bare"} | more
    answer = site.post(IMAGES, user, json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json["id"])


class _Stream:
    """A request body that is made while it is read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            self._rest = next(self._chunks, None) or b""
            if not self._rest:
                return b""
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def close(self) -> None:
        pass


def streamed(
    site: Site, image: str, chunks: Iterable[bytes], length: int | None = None, to: str = "file"
) -> TestResponse:
    """PUT data that is made while it is read; chunked unless `length` is told."""
    given = {"wsgi.input": _Stream(iter(chunks)), "CONTENT_LENGTH": str(length or "")}
    if length is None:
        given |= {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    path = f"{IMAGES}/{image}/{to}"
    return site.call("PUT", path, content_type=OCTETS, environ_overrides=given)


def test_an_image_is_made_filled_shown_read_and_deleted(site: Site) -> None:
    content = qcow2()
    image = record(site, min_ram=64, os_distro="none", tags=["a", "b"])
    assert site.get(f"{IMAGES}/{image}").json["status"] == "queued"
    assert site.get(f"{IMAGES}/{image}/file").status_code == 204
    assert site.upload(image, content).status_code == 204
    shown = site.get(f"{IMAGES}/{image}").json
    assert shown["status"] == "active"
    assert shown["size"] == len(content)
    assert shown["virtual_size"] == 1 << 20
    assert shown["checksum"] == hashlib.md5(content).hexdigest()
    assert (shown["os_hash_algo"], shown["os_hash_value"]) == (
        "sha512",
        hashlib.sha512(content).hexdigest(),
    )
    assert (shown["os_distro"], shown["tags"], shown["visibility"]) == (
        "none",
        ["a", "b"],
        "shared",
    )
    read = site.get(f"{IMAGES}/{image}/file")
    assert read.data == content
    assert read.headers["Content-MD5"] == shown["checksum"]
    assert read.mimetype == OCTETS
    assert site.delete(f"{IMAGES}/{image}").status_code == 204
    assert site.get(f"{IMAGES}/{image}").status_code == 404
    assert left_on_disk(site) == []


def test_a_part_of_an_image_can_be_read(site: Site) -> None:
    image = site.add_image(content=bytes(range(200)) * 10)
    part = site.get(f"{IMAGES}/{image}/file", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.data) == (206, bytes(range(10, 20)))
    beyond = site.get(f"{IMAGES}/{image}/file", headers={"Range": "bytes=9999-"})
    assert beyond.status_code == 416


def test_an_upload_in_chunks_is_taken_as_it_comes(site: Site) -> None:
    def chunks() -> Iterator[bytes]:
        yield qcow2()
        for _ in range(40):
            yield b"d" * 100_000

    image = record(site)
    put = streamed(site, image, chunks())
    assert put.status_code == 204, put.text
    assert site.get(f"{IMAGES}/{image}").json["size"] == 65536 + 4_000_000


@pytest.mark.parametrize(
    ("declared", "content", "says"),
    [
        ("qcow2", b"just some bytes" * 100, "its content is raw"),
        ("raw", qcow2(), "its content is qcow2"),
        ("qcow2", qcow2(backing=512), "backing file"),
        ("qcow2", qcow2(features=4), "data_file"),
        ("qcow2", qcow2(features=1 << 20), "nknown"),
        ("qcow2", qcow2(version=7), "ersion"),
        ("qcow2", qcow2(size=0), "no size"),
        ("qcow2", qcow2()[:100], "content is raw"),
        ("raw", b"", "no data"),
        ("vmdk", b"x" * 100, "cannot be used here"),
        ("iso", b"x" * 100, "cannot be used here"),
    ],
)
def test_a_lying_or_dangerous_file_is_refused_and_nothing_stays(
    site: Site, declared: str, content: bytes, says: str
) -> None:
    image = record(site, disk_format=declared)
    put = site.upload(image, content)
    assert put.status_code == 400
    assert says in put.text
    assert site.get(f"{IMAGES}/{image}").json["status"] == "queued"
    assert left_on_disk(site) == []


def test_an_absurd_virtual_size_is_refused(site: Site) -> None:
    image = record(site)
    put = site.upload(image, qcow2(size=1 << 60))
    assert put.status_code == 413
    assert str(1 << 60) in put.text
    assert left_on_disk(site) == []


def test_after_a_refusal_the_right_file_can_be_uploaded(site: Site) -> None:
    image = record(site)
    assert site.upload(image, b"wrong").status_code == 400
    assert site.upload(image, qcow2()).status_code == 204


def test_too_large_an_image_is_413_whether_it_says_so_or_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "GIB", 1000)  # so that the limit is 10,000 bytes
    image = record(site, disk_format="raw")
    said = site.upload(image, b"x" * 10_001)
    assert said.status_code == 413
    assert "10000" in said.text
    unsaid = streamed(site, image, [b"x" * 6000, b"x" * 6000])
    assert unsaid.status_code == 413
    assert site.get(f"{IMAGES}/{image}").json["status"] == "queued"
    assert left_on_disk(site) == []
    assert site.upload(image, b"x" * 10_000).status_code == 204


def test_a_full_disk_is_said_and_leaves_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    image = record(site, disk_format="raw")
    monkeypatch.setattr(os, "fsync", lambda handle: full(handle, b""))
    put = site.upload(image, b"x" * 100)
    assert put.status_code == 413
    assert "store is full" in put.text
    assert left_on_disk(site) == []
    assert site.get(f"{IMAGES}/{image}").json["status"] == "queued"


def test_of_two_uploads_one_wins(site: Site) -> None:
    image, go = record(site, disk_format="raw"), threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"x" * 1000
        go.wait(10)
        yield b"y" * 1000

    answers: list[int] = []
    first = threading.Thread(
        target=lambda: answers.append(streamed(site, image, slow()).status_code)
    )
    site.token()
    first.start()
    while site.get(f"{IMAGES}/{image}").json["status"] != "saving":
        pass
    second = site.upload(image, b"z" * 10)
    go.set()
    first.join()
    assert second.status_code == 409
    assert "saving" in second.text
    assert answers == [204]
    assert site.get(f"{IMAGES}/{image}").json["size"] == 2000
    assert site.upload(image, b"z" * 10).status_code == 409
    assert left_on_disk(site) == [image]


def test_an_image_deleted_while_it_is_uploaded_leaves_nothing(site: Site) -> None:
    image = record(site, disk_format="raw")

    def deleted_meanwhile() -> Iterator[bytes]:
        yield b"x" * 1000
        assert site.delete(f"{IMAGES}/{image}").status_code == 204
        yield b"y" * 1000

    put = streamed(site, image, deleted_meanwhile())
    assert put.status_code == 404
    assert left_on_disk(site) == []


def test_a_client_that_hangs_up_leaves_nothing(site: Site) -> None:
    image = record(site, disk_format="raw")
    put = streamed(site, image, [b"x" * 1000], length=5000)
    assert put.status_code == 400
    assert site.get(f"{IMAGES}/{image}").json["status"] == "queued"
    assert left_on_disk(site) == []


def test_an_upload_whose_process_died_is_taken_over(site: Site) -> None:
    image, dead = record(site, disk_format="raw"), f"{uuid.uuid4()}.part"
    with transaction() as session:
        owner = site.get(f"{IMAGES}/{image}").json["owner"]
        claim = image_data.Claim(image_data.UPLOAD, dead)
        image_data.begin(session, Caller("u", owner, frozenset(), "r"), image, claim)
    assert site.get(f"{IMAGES}/{image}").json["status"] == "saving"
    assert site.upload(image, b"x" * 10).status_code == 204


def test_a_starting_process_clears_up_after_one_that_died(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = record(site, disk_format="raw")
    directory = site.directory / "images"
    directory.mkdir(exist_ok=True)
    (directory / f"{image}.00.part").write_bytes(b"half")
    os.utime(directory / f"{image}.00.part", (1, 1))
    with transaction() as session:
        owner = site.get(f"{IMAGES}/{image}").json["owner"]
        claim = image_data.Claim(image_data.UPLOAD, f"{image}.00.part")
        image_data.begin(session, Caller("u", owner, frozenset(), "r"), image, claim)
    with store.draft(directory, "running") as running:
        os.utime(running.path, (1, 1))
        uploads.recover(adopt_settings(monkeypatch, site.directory))
        assert left_on_disk(site) == [running.name]
    assert site.get(f"{IMAGES}/{image}").json["status"] == "queued"


def test_data_must_come_as_octets_and_after_the_formats(site: Site) -> None:
    image = record(site)
    put = site.call("PUT", f"{IMAGES}/{image}/file", json={})
    assert put.status_code == 415
    bare = site.post(IMAGES, json={"name": "no formats"}).json["id"]
    assert site.upload(bare, b"x").status_code == 400


def test_a_host_reads_an_image_with_a_token_for_just_that_image(site: Site) -> None:
    mine, other = site.add_image(content=b"m" * 100), site.add_image(content=b"o" * 100)
    keys = load_keys(site.directory / "keys")
    token = access.make_token(keys, mine, "action", 60)

    def read(image: str, bearer: str) -> int:
        headers = {"Authorization": f"Bearer {bearer}"}
        return site.get(f"{IMAGES}/{image}/file", None, headers=headers).status_code

    assert read(mine, token) == 200
    assert read(other, token) == 401
    assert read(mine, access.make_token(keys, mine, "action", -1)) == 401
    assert read(mine, access.make_token(["another key"], mine, "action", 60)) == 401
    headers = {"Authorization": f"Bearer {token}"}
    assert site.get(f"{IMAGES}/{mine}", None, headers=headers).status_code == 401
    put = site.call("PUT", f"{IMAGES}/{mine}/file", None, headers=headers, content_type=OCTETS)
    assert put.status_code == 401


def test_anothers_image_is_not_there(site: Site) -> None:
    image = site.add_image()
    for call in (
        site.get(f"{IMAGES}/{image}", "other"),
        site.get(f"{IMAGES}/{image}/file", "other"),
        site.delete(f"{IMAGES}/{image}", "other"),
        site.upload(image, b"x", "other"),
    ):
        assert call.status_code == 404
    assert site.get(IMAGES, "other").json["images"] == []
    marked = site.get(f"{IMAGES}?marker={image}", "other")
    assert marked.status_code == 400


def test_public_images_are_everybodys_to_read_and_nobodys_to_change(site: Site) -> None:
    assert site.post(IMAGES, json={"visibility": "public"}).status_code == 403
    image = site.add_image("admin", visibility="public")
    assert site.get(f"{IMAGES}/{image}", "other").status_code == 200
    assert [one["id"] for one in site.get(IMAGES, "other").json["images"]] == [image]
    assert site.delete(f"{IMAGES}/{image}", "other").status_code == 403


def test_a_protected_image_cannot_be_deleted(site: Site) -> None:
    image = site.add_image(protected=True)
    assert site.delete(f"{IMAGES}/{image}").status_code == 403


def test_lists_are_filtered_sorted_and_paged(site: Site) -> None:
    names = ["b", "a", "c"]
    ids = {name: record(site, name=name, kind=name * 2, tags=[name]) for name in names}

    def listed(query: str) -> list[str]:
        return [one["name"] for one in site.get(f"{IMAGES}?{query}").json["images"]]

    assert listed("") == ["c", "a", "b"]
    assert listed("sort_key=name&sort_dir=asc") == ["a", "b", "c"]
    assert listed("sort=name:desc") == ["c", "b", "a"]
    assert listed("name=a") == ["a"]
    assert listed("kind=bb") == ["b"]
    assert listed("tag=c") == ["c"]
    assert listed("status=active") == []
    assert listed(f"id=in:{ids['a']},{ids['b']}") == ["a", "b"]
    assert listed("os_hidden=true") == []
    first = site.get(f"{IMAGES}?limit=2&sort=name:asc").json
    assert [one["name"] for one in first["images"]] == ["a", "b"]
    second = site.get("/image" + first["next"]).json
    assert [one["name"] for one in second["images"]] == ["c"]
    assert "next" not in second


def test_images_without_a_size_are_paged_too(site: Site) -> None:
    for content in (b"x" * 10, b"x" * 20):
        site.add_image(content=content)
    for _ in range(2):
        record(site)
    for direction in ("asc", "desc"):
        seen: list[str] = []
        path = f"{IMAGES}?limit=1&sort_key=size&sort_dir={direction}"
        while path:
            page = site.get(path).json
            seen += [one["id"] for one in page["images"]]
            path = "/image" + page["next"] if "next" in page else ""
        assert len(seen) == len(set(seen)) == 4


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"disk_format": "floppy"}, 400),
        ({"min_disk": -1}, 400),
        ({"min_disk": "many"}, 400),
        ({"name": "x" * 256}, 400),
        ({"id": "no-uuid"}, 400),
        ({"custom": 7}, 400),
        ({"tags": ["x"] * 2}, 400),
        ({"status": "active"}, 403),
        ({"size": "12"}, 403),
        ({"owner": "somebody"}, 403),
        ([], 400),
    ],
)
def test_a_bad_record_is_refused_in_plain_text(site: Site, body: object, status: int) -> None:
    answer = site.post(IMAGES, json=body)
    assert answer.status_code == status
    assert answer.text.startswith(f"{status} ")


@pytest.mark.parametrize(
    "query",
    [
        "limit=x",
        "limit=-1",
        "sort_key=colour",
        "sort_dir=up",
        "visibility=odd",
        "size_min=x",
        "marker=x",
        "protected=maybe",
    ],  # fmt: skip
)
def test_a_bad_list_query_is_400(site: Site, query: str) -> None:
    assert site.get(f"{IMAGES}?{query}").status_code == 400


def test_an_id_can_be_chosen_once(site: Site) -> None:
    chosen = str(uuid.uuid4())
    assert record(site, id=chosen) == chosen
    assert site.post(IMAGES, "other", json={"id": chosen}).status_code == 409


def test_a_draft_never_takes_more_than_a_chunk_at_once(tmp_path: Path) -> None:
    asked: list[int] = []

    class Endless:
        def read(self, size: int, /) -> bytes:
            asked.append(size)
            return b"\0" * size

    with store.draft(tmp_path, "i") as draft, pytest.raises(TooLarge):
        draft.receive(Endless(), 5 * store.CHUNK)
    assert set(asked) == {store.CHUNK}
    assert list(tmp_path.iterdir()) == []


def test_the_database_says_active_only_when_the_file_is_there(site: Site) -> None:
    image = site.add_image()
    with reading() as session:
        assert image_data.readable(session, image).file_name == image
    assert left_on_disk(site) == [image]
    (site.directory / "images" / image).unlink()
    assert create_app() is not None
    assert site.get(f"{IMAGES}/{image}/file").status_code == 404


@pytest.mark.parametrize(
    ("accept", "kind", "text"),
    [
        ("*/*", "text/plain", "No image found with ID <b>"),
        ("", "text/html", "No image found with ID &lt;b&gt;"),
        ("application/json", "application/json", "No image found with ID <b>"),
    ],
)
def test_a_refusal_comes_in_a_form_that_the_client_reads(
    site: Site, accept: str, kind: str, text: str
) -> None:
    refused = site.get("/image/v2/images/<b>", headers={"Accept": accept})
    assert (refused.status_code, refused.mimetype) == (404, kind)
    assert text in refused.text


def test_an_image_has_no_tasks_and_only_its_readers_learn_that(site: Site) -> None:
    image_id = site.add_image()
    path = f"/image/v2/images/{image_id}/tasks"
    assert site.get(path).json == {"tasks": []}
    assert site.get(path, "other").status_code == 404


def test_images_are_found_by_their_exact_least_disk_and_ram(site: Site) -> None:
    site.add_image(name="small", min_disk=1, min_ram=64)
    site.add_image(name="large", min_disk=2, min_ram=64)
    for query, names in (("min_disk=1", {"small"}), ("min_ram=64", {"small", "large"})):
        found = site.get(f"/image/v2/images?{query}").json["images"]
        assert {one["name"] for one in found} == names
    assert site.get("/image/v2/images?min_ram=x").status_code == 400
