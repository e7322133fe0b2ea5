"""Images over HTTP: changes, tags, staging and import, deactivation, schemas."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.domain.caller import Caller
from app.images import access
from app.images.keys import load_keys
from app.store import image_data
from app.store.database import transaction
from app.web.image import uploads
from tests.integration.test_web_images import IMAGES, left_on_disk, qcow2, record, streamed
from tests.integration.web_fixtures import OCTETS, Site, adopt_settings, seeded_database, site

__all__ = ["seeded_database", "site"]
NEW = "application/openstack-images-v2.1-json-patch"
OLD = "application/openstack-images-v2.0-json-patch"


def patch(site: Site, image: str, *changes: Any, user: str = "novella") -> TestResponse:
    """PATCH with these operations in the newer dialect."""
    return site.call("PATCH", f"{IMAGES}/{image}", user, json=list(changes), content_type=NEW)


def op(verb: str, path: str, *value: Any) -> dict[str, Any]:
    """One operation."""
    return {"op": verb, "path": path} | ({"value": value[0]} if value else {})


def stage(site: Site, image: str, content: bytes, user: str = "novella") -> TestResponse:
    """PUT data to be imported."""
    return site.call("PUT", f"{IMAGES}/{image}/stage", user, data=content, content_type=OCTETS)


def import_(site: Site, image: str, user: str = "novella") -> TestResponse:
    """POST the import of what was staged."""
    body = {"method": {"name": "glance-direct"}}
    return site.post(f"{IMAGES}/{image}/import", user, json=body)


def test_every_writable_attribute_can_be_changed_at_once(site: Site) -> None:
    image = record(site, os_distro="debian", kind="a")
    answer = patch(
        site,
        image,
        op("replace", "/name", "renamed"),
        op("add", "/visibility", "community"),
        op("replace", "/protected", True),
        op("replace", "/min_disk", 3),
        op("add", "/min_ram", 128),
        op("replace", "/tags", ["x", "y"]),
        op("replace", "/os_hidden", True),
        op("replace", "/disk_format", "raw"),
        op("add", "/hw_disk_bus", "virtio"),
        op("replace", "/os_distro", "none"),
        op("remove", "/kind"),
        op("add", "/a~1b~0c", "escaped"),
    )
    assert answer.status_code == 200, answer.text
    shown = site.get(f"{IMAGES}/{image}").json
    assert shown == answer.json
    expected = {
        "name": "renamed", "visibility": "community", "protected": True, "min_disk": 3,
        "min_ram": 128, "tags": ["x", "y"], "os_hidden": True, "disk_format": "raw",
        "hw_disk_bus": "virtio", "os_distro": "none", "a/b~c": "escaped",
    }  # fmt: skip
    assert expected.items() <= shown.items()
    assert "kind" not in shown
    assert site.get(IMAGES).json["images"] == []
    assert [one["id"] for one in site.get(f"{IMAGES}?os_hidden=true").json["images"]] == [image]
    assert site.delete(f"{IMAGES}/{image}").status_code == 403
    assert patch(site, image, op("replace", "/protected", False)).status_code == 200
    assert site.delete(f"{IMAGES}/{image}").status_code == 204


def test_the_older_dialect_does_the_same(site: Site) -> None:
    image = record(site, kind="a")
    body = [{"replace": "/name", "value": "old"}, {"add": "/n", "value": "1"}, {"remove": "/kind"}]
    answer = site.call("PATCH", f"{IMAGES}/{image}", json=body, content_type=OLD)
    assert answer.status_code == 200, answer.text
    assert (answer.json["name"], answer.json["n"], "kind" in answer.json) == ("old", "1", False)


def test_single_tags_are_changed_by_their_place(site: Site) -> None:
    image = record(site, tags=["a", "b"])
    answer = patch(
        site, image, op("replace", "/tags/0", "c"), op("add", "/tags/-", "d"),
        op("remove", "/tags/1"), op("add", "/tags/0", "e"),
    )  # fmt: skip
    assert answer.json["tags"] == ["e", "c", "d"]
    assert patch(site, image, op("remove", "/tags/7")).status_code == 409
    assert patch(site, image, op("add", "/tags/-", "d")).status_code == 400
    assert patch(site, image, op("add", "/tags/-", 7)).status_code == 400


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        (op("replace", "/status", "active"), 403, "'status' is read-only"),
        (op("add", "/id", "x"), 403, "'id' is read-only"),
        (op("remove", "/checksum"), 403, "'checksum' is read-only"),
        (op("add", "/locations", []), 403, "'locations' is read-only"),
        (op("add", "/os_glance_x", "y"), 403, "reserved"),
        (op("replace", "/owner", "somebody"), 403, "modify_image:owner"),
        (op("replace", "/visibility", "public"), 403, "publicize_image"),
        (op("remove", "/name"), 403, "'name' cannot be removed"),
        (op("replace", "/absent", "x"), 409, "absent does not exist"),
        (op("remove", "/absent"), 409, "absent does not exist"),
        (op("move", "/name", "x"), 400, "0.op"),
        (op("add", "name", "x"), 400, "0.path"),
        (op("add", "/a/b", "x"), 400, "0.path"),
        (op("add", "/", "x"), 400, "0.path"),
        (op("add", "/a~2", "x"), 400, "0.path"),
        (op("add", "/name"), 400, "missing: value"),
        (op("replace", "/name", 7), 400, "field name"),
        (op("replace", "/name", "x" * 256), 400, "field name"),
        (op("replace", "/visibility", "odd"), 400, "field visibility"),
        (op("replace", "/min_disk", -1), 400, "field min_disk"),
        (op("replace", "/protected", "yes"), 400, "field protected"),
        (op("replace", "/tags", "x"), 400, "field tags"),
        (op("replace", "/disk_format", "floppy"), 400, "field disk_format"),
        (op("add", "/custom", 7), 400, "field custom"),
        ({"path": "/name"}, 400, "missing: op"),
        ("x", 400, "field 0"),
        (None, 400, "field 0"),
    ],
)
def test_a_bad_change_is_refused_and_changes_nothing(
    site: Site, change: Any, status: int, says: str
) -> None:
    image = record(site)
    before = site.get(f"{IMAGES}/{image}").json
    answer = patch(site, image, op("replace", "/name", "half"), change)
    says = says.replace("0.", "1.").replace("field 0", "field 1")
    assert (answer.status_code, says in answer.text) == (status, True), answer.text
    assert site.get(f"{IMAGES}/{image}").json == before


def test_a_patch_of_another_kind_is_refused(site: Site) -> None:
    image = record(site)
    for kind, body, status in (
        ("application/json", [], 415),
        (NEW, {}, 400),
        (OLD, [{"add": "/n", "replace": "/n", "value": "x"}], 400),
        (OLD, [{"value": "x"}], 400),
        (NEW, [op("add", f"/p{n}", "x") for n in range(200)], 400),
    ):
        answer = site.call("PATCH", f"{IMAGES}/{image}", json=body, content_type=kind)
        assert answer.status_code == status, (kind, body, answer.text)


def test_formats_change_only_while_the_image_is_queued(site: Site) -> None:
    image = site.add_image()
    refused = patch(site, image, op("replace", "/disk_format", "qcow2"))
    assert (refused.status_code, "disk_format" in refused.text) == (403, True)
    assert patch(site, image, op("replace", "/disk_format", "raw")).status_code == 200


def test_only_the_owner_and_administrators_change_an_image(site: Site) -> None:
    private, public = record(site), site.add_image("admin", visibility="public")
    change = op("replace", "/name", "mine now")
    assert patch(site, private, change, user="other").status_code == 404
    assert patch(site, public, change, user="other").status_code == 403
    assert site.call("PUT", f"{IMAGES}/{private}/tags/t", "other").status_code == 404
    nobody = patch(site, private, op("replace", "/owner", "p"), user="admin")
    assert (nobody.status_code, "there is no project p" in nobody.text) == (400, True)
    given = {"project": {"name": "p"}}
    project = site.post("/identity/v3/projects", "admin", json=given).json["project"]["id"]
    assert patch(site, private, op("replace", "/owner", project), user="admin").status_code == 200
    assert site.get(f"{IMAGES}/{private}").status_code == 404


def test_of_many_changes_at_once_none_is_lost(site: Site) -> None:
    image = record(site)
    site.token()
    answers: list[int] = []

    def change(number: int) -> None:
        for one in (
            patch(site, image, op("add", f"/p{number}", "x")),
            site.call("PUT", f"{IMAGES}/{image}/tags/t{number}"),
        ):
            answers.append(one.status_code)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shown = site.get(f"{IMAGES}/{image}").json
    assert sorted(answers) == [200] * 8 + [204] * 8
    assert {f"p{number}" for number in range(8)} <= set(shown)
    assert sorted(shown["tags"]) == [f"t{number}" for number in range(8)]


def test_tags_are_put_and_deleted_one_by_one(site: Site) -> None:
    image = record(site)
    path = f"{IMAGES}/{image}/tags"
    for _ in range(2):
        assert site.call("PUT", f"{path}/blue").status_code == 204
    assert site.get(f"{IMAGES}/{image}").json["tags"] == ["blue"]
    assert site.call("PUT", f"{path}/{'x' * 256}").status_code == 400
    assert site.delete(f"{path}/red").status_code == 404
    assert site.delete(f"{path}/blue").status_code == 204
    many = [f"t{number}" for number in range(128)]
    assert patch(site, image, op("replace", "/tags", many)).status_code == 200
    assert site.call("PUT", f"{path}/one-more").status_code == 413


def test_staged_data_is_in_use_once_imported(site: Site) -> None:
    image = record(site)
    made = site.post(IMAGES, json={"name": "x"})
    assert made.headers["OpenStack-image-import-methods"] == "glance-direct"
    assert site.get("/image/v2/info/import").json["import-methods"]["value"] == ["glance-direct"]
    assert import_(site, image).status_code == 409
    assert stage(site, image, qcow2()).status_code == 204
    shown = site.get(f"{IMAGES}/{image}").json
    assert (shown["status"], shown["checksum"], shown["size"]) == ("uploading", None, None)
    assert site.get(f"{IMAGES}/{image}/file").status_code == 404
    assert site.add_server(imageRef=image).status_code == 400
    assert stage(site, image, qcow2()).status_code == 409
    assert site.upload(image, qcow2()).status_code == 409
    assert import_(site, image, "other").status_code == 404
    imported = import_(site, image)
    assert (imported.status_code, imported.data) == (202, b"")
    shown = site.get(f"{IMAGES}/{image}").json
    assert (shown["status"], shown["size"], shown["virtual_size"]) == ("active", 65536, 1 << 20)
    assert site.get(f"{IMAGES}/{image}/file").data == qcow2()
    assert import_(site, image).status_code == 409
    assert left_on_disk(site) == [image]


def test_what_cannot_be_used_is_refused_when_it_is_staged(site: Site) -> None:
    image = record(site)
    refused = stage(site, image, qcow2(backing=512))
    assert (refused.status_code, "backing file" in refused.text) == (400, True)
    assert site.get(f"{IMAGES}/{image}").json["status"] == "queued"
    assert left_on_disk(site) == []
    assert stage(site, image, qcow2()).status_code == 204


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "method"),
        ({"method": {}}, "method"),
        ({"method": {"name": "web-download"}}, "method.name"),
        ({"method": {"name": "glance-direct", "uri": "http://x"}}, "uri"),
        ({"method": {"name": "glance-direct"}, "stores": ["x"]}, "stores"),
        ({"method": {"name": "glance-direct"}, "all_stores": "x"}, "all_stores"),
    ],
)
def test_another_way_of_import_is_refused(site: Site, body: Any, says: str) -> None:
    image = record(site)
    assert stage(site, image, qcow2()).status_code == 204
    answer = site.post(f"{IMAGES}/{image}/import", json=body)
    assert (answer.status_code, says in answer.text) == (400, True), answer.text


def test_a_staged_image_can_be_deleted(site: Site) -> None:
    image = record(site)
    assert stage(site, image, qcow2()).status_code == 204
    assert site.delete(f"{IMAGES}/{image}").status_code == 204
    assert left_on_disk(site) == []


def test_an_image_is_not_imported_before_all_of_it_is_staged(site: Site) -> None:
    image = record(site, disk_format="raw")
    tries: list[TestResponse] = []

    def chunks() -> Iterator[bytes]:
        yield b"x" * 1000
        tries.append(import_(site, image))
        yield b"y" * 1000

    put = streamed(site, image, chunks(), to="stage")
    assert put.status_code == 204, put.text
    assert [one.status_code for one in tries] == [409]
    assert import_(site, image).status_code == 202


@pytest.mark.parametrize("died", ["before the rename", "after the rename"])
@pytest.mark.parametrize("way", [image_data.STAGE, image_data.UPLOAD])
def test_data_whose_process_died_leaves_a_queued_image_and_no_file(
    site: Site, monkeypatch: pytest.MonkeyPatch, died: str, way: image_data.Way
) -> None:
    image, whole = record(site, disk_format="raw"), site.add_image()
    owner = site.get(f"{IMAGES}/{image}").json["owner"]
    name = f"{image}.00.part"
    with transaction() as session:
        claim = image_data.Claim(way, name)
        image_data.begin(session, Caller("u", owner, frozenset(), "r"), image, claim)
    lost = site.directory / "images" / (name if died.startswith("before") else image)
    lost.write_bytes(b"half")
    os.utime(lost, (1, 1))
    uploads.recover(adopt_settings(monkeypatch, site.directory))
    assert site.get(f"{IMAGES}/{image}").json["status"] == "queued"
    assert left_on_disk(site) == [whole]
    assert stage(site, image, b"x" * 10).status_code == 204


def test_recovery_leaves_what_is_staged(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    image = record(site)
    assert stage(site, image, qcow2()).status_code == 204
    os.utime(site.directory / "images" / image, (1, 1))
    uploads.recover(adopt_settings(monkeypatch, site.directory))
    assert import_(site, image).status_code == 202
    assert site.get(f"{IMAGES}/{image}/file").data == qcow2()


def test_a_deactivated_image_is_read_by_administrators_only_and_boots_nothing(site: Site) -> None:
    image = site.add_image()
    path = f"{IMAGES}/{image}/actions"
    token = access.make_token(load_keys(site.directory / "keys"), image, "action", 60)
    bearer = {"Authorization": f"Bearer {token}"}
    for _ in range(2):
        assert site.post(f"{path}/deactivate").status_code == 204
    assert site.get(f"{IMAGES}/{image}").json["status"] == "deactivated"
    assert site.get(f"{IMAGES}/{image}").json["size"] == 4096
    assert site.get(f"{IMAGES}/{image}/file").status_code == 403
    assert site.get(f"{IMAGES}/{image}/file", "admin").status_code == 200
    assert site.get(f"{IMAGES}/{image}/file", None, headers=bearer).status_code == 404
    refused = site.add_server(imageRef=image)
    assert (refused.status_code, "not active" in refused.text) == (400, True)
    assert site.post(f"{path}/reactivate").status_code == 204
    assert site.get(f"{IMAGES}/{image}/file").status_code == 200
    queued = f"{IMAGES}/{record(site)}/actions/deactivate"
    assert site.post(queued).status_code == 403
    assert site.post(f"{path}/deactivate", "other").status_code == 404


def test_images_are_found_by_time_and_hash(site: Site) -> None:
    image = site.add_image()
    shown = site.get(f"{IMAGES}/{image}").json

    def found(query: dict[str, str]) -> bool:
        answer = site.get(IMAGES, query_string=query)
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json["images"]] == [image]

    at = shown["created_at"]
    yes = [f"gte:{at}", f"lte:{at}", at, f"eq:{at}", "gt:2020-01-01T00:00:00Z"]
    no = [f"gt:{at}", f"lt:{at}", f"neq:{at}", "lt:2020-01-01T00:00:00Z"]
    assert [found({"created_at": one}) for one in yes + no] == [True] * 5 + [False] * 4
    assert found({"os_hash_value": shown["os_hash_value"]})
    assert not found({"os_hash_value": "0" * 128})
    bad = site.get(IMAGES, query_string={"updated_at": "gt:soon"})
    assert (bad.status_code, "updated_at" in bad.text) == (400, True)


def test_the_schemas_name_what_images_show(site: Site) -> None:
    image = site.get(f"{IMAGES}/{site.add_image()}").json
    schema = site.get("/image" + image["schema"]).json
    assert set(image) == set(schema["properties"])
    assert schema["properties"]["size"]["readOnly"]
    listed = site.get(IMAGES).json
    schema = site.get("/image" + listed["schema"]).json
    assert set(listed) <= set(schema["properties"])
    assert schema["properties"]["images"]["items"]["properties"].keys() == set(image)


def test_an_unknown_image_is_404_for_every_way_to_change_it(site: Site) -> None:
    unknown = str(uuid.uuid4())
    for answer in (
        patch(site, unknown, op("replace", "/name", "x")),
        stage(site, unknown, b"x"),
        import_(site, unknown),
        site.call("PUT", f"{IMAGES}/{unknown}/tags/t"),
        site.delete(f"{IMAGES}/{unknown}/tags/t"),
        site.post(f"{IMAGES}/{unknown}/actions/deactivate"),
        site.post(f"{IMAGES}/{unknown}/actions/reactivate"),
    ):
        assert answer.status_code == 404
        assert answer.text.startswith("404 Not Found")
