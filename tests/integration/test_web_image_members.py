"""Images that are shared with other projects over HTTP."""

from __future__ import annotations

import pytest

from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
IMAGES = "/image/v2/images"


@pytest.fixture
def other(site: Site) -> str:
    """Another project, whose member is `guest`; its id."""
    site.add_user("guest")
    return str(site.get("/identity/v3/auth/projects", "guest").json["projects"][0]["id"])


def shared(site: Site, project: str) -> str:
    """An image that is offered to a project."""
    image = site.add_image()
    made = site.post(f"{IMAGES}/{image}/members", json={"member": project})
    assert made.status_code == 200, made.text
    return image


def answered(site: Site, image: str, project: str, status: str, user: str = "guest") -> int:
    """The status of the answer to what `user` makes of the offer."""
    path = f"{IMAGES}/{image}/members/{project}"
    return site.call("PUT", path, user, json={"status": status}).status_code


def listed(site: Site, query: str = "") -> list[str]:
    """The images in the other project's list."""
    return [one["id"] for one in site.get(f"{IMAGES}{query}", "guest").json["images"]]


def test_a_shared_image_is_seen_by_id_at_once_and_listed_once_it_is_accepted(
    site: Site, other: str
) -> None:
    image = shared(site, other)
    path = f"{IMAGES}/{image}/members"
    assert site.get(f"{IMAGES}/{image}", "guest").status_code == 200
    assert listed(site) == listed(site, "?member_status=accepted") == []
    assert listed(site, "?member_status=pending&visibility=shared") == [image]
    assert answered(site, image, other, "accepted") == 200
    assert listed(site) == listed(site, "?visibility=shared") == [image]
    assert listed(site, "?member_status=pending") == []
    assert answered(site, image, other, "rejected") == 200
    assert listed(site) == []
    assert listed(site, "?member_status=all") == [image]
    (member,) = site.get(path).json["members"]
    assert set(member) == {
        "image_id", "member_id", "status", "created_at", "updated_at", "schema",
    }  # fmt: skip
    assert (member["image_id"], member["member_id"]) == (image, other)
    assert (member["status"], member["schema"]) == ("rejected", "/v2/schemas/member")
    assert site.get(f"{path}/{other}").json == member
    assert site.delete(f"{path}/{other}").status_code == 204
    assert site.get(f"{IMAGES}/{image}", "guest").status_code == 404
    assert site.get(path).json == {"members": [], "schema": "/v2/schemas/members"}


def test_a_member_may_use_the_image_and_change_nothing_of_it(site: Site, other: str) -> None:
    image = shared(site, other)
    assert site.get(f"{IMAGES}/{image}/file", "guest").status_code == 200
    assert site.add_server("guest", imageRef=image).status_code == 202
    assert site.delete(f"{IMAGES}/{image}", "guest").status_code == 403
    path = f"{IMAGES}/{image}/members"
    assert site.post(path, "guest", json={"member": "third"}).status_code == 403
    assert site.delete(f"{path}/{other}", "guest").status_code == 403


def test_a_member_sees_only_itself_among_the_members(site: Site, other: str) -> None:
    image = shared(site, other)
    path = f"{IMAGES}/{image}/members"
    assert site.post(path, json={"member": "third"}).status_code == 200
    assert [one["member_id"] for one in site.get(path).json["members"]] == [other, "third"]
    assert [one["member_id"] for one in site.get(path, "guest").json["members"]] == [other]
    assert site.get(f"{path}/third", "guest").status_code == 404
    assert site.get(f"{path}/{other}", "guest").status_code == 200


def test_the_member_alone_accepts(site: Site, other: str) -> None:
    image = shared(site, other)
    assert answered(site, image, other, "accepted", "novella") == 403
    assert answered(site, image, other, "accepted", "admin") == 200
    assert answered(site, image, other, "perhaps") == 400
    site.add_user("stranger")
    assert answered(site, image, other, "accepted", "stranger") == 404


def test_only_shared_images_have_members(site: Site, other: str) -> None:
    image = shared(site, other)
    patch = [{"op": "replace", "path": "/visibility", "value": "private"}]
    changed = site.call(
        "PATCH",
        f"{IMAGES}/{image}",
        json=patch,
        content_type="application/openstack-images-v2.1-json-patch",
    )
    assert changed.status_code == 200, changed.text
    assert site.get(f"{IMAGES}/{image}", "guest").status_code == 404
    for answer in (
        site.get(f"{IMAGES}/{image}/members"),
        site.post(f"{IMAGES}/{image}/members", json={"member": "third"}),
        site.delete(f"{IMAGES}/{image}/members/{other}"),
    ):
        assert (answer.status_code, "shared" in answer.text) == (403, True)


def test_an_image_is_offered_once_and_to_128_projects_at_most(site: Site, other: str) -> None:
    image = shared(site, other)
    path = f"{IMAGES}/{image}/members"
    assert site.post(path, json={"member": other}).status_code == 409
    assert site.post(path, json={}).status_code == 400
    for number in range(127):
        assert site.post(path, json={"member": f"p{number}"}).status_code == 200
    refused = site.post(path, json={"member": "one-more"})
    assert (refused.status_code, "128" in refused.text) == (413, True)


def test_what_was_offered_to_a_project_goes_with_it(site: Site) -> None:
    given = {"project": {"name": "short-lived"}}
    project = site.post("/identity/v3/projects", "admin", json=given).json["project"]["id"]
    image = shared(site, project)
    assert site.delete(f"/identity/v3/projects/{project}", "admin").status_code == 204
    assert site.get(f"{IMAGES}/{image}/members").json["members"] == []
