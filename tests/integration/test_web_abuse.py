"""Requests that are cheap to send and would be dear to answer, and others that a review found."""

from __future__ import annotations

import time
import uuid

import pytest
from sqlalchemy import select

from app import joining
from app.images.keys import load_keys
from app.models import Project, Server
from app.store.database import reading, transaction
from tests.cloud import allowed
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
IMAGES, SERVERS, JOIN = "/image/v2/images", "/compute/v2.1/servers", "/v1/hosts/join"
SOON = 2.0


def test_a_stranger_s_long_url_is_refused_at_once(site: Site) -> None:
    body = {"token": "x", "name": "n1", "uuid": str(uuid.uuid4())}
    began = time.monotonic()
    refused = site.post(JOIN, None, json={**body, "url": "http://" + "a" * 60_000 + " "})
    assert refused.status_code == 401  # the token comes first
    good = joining.make_token(load_keys(site.directory / "keys"), 60)
    refused = site.post(JOIN, None, json={**body, "token": good, "url": "http://" + "a" * 60_000})
    assert refused.status_code == 400
    assert "url" in refused.json["detail"]
    assert time.monotonic() - began < allowed(SOON)


def test_a_url_with_half_a_bracket_is_refused(site: Site) -> None:
    good = joining.make_token(load_keys(site.directory / "keys"), 60)
    body = {"token": good, "name": "n1", "uuid": str(uuid.uuid4()), "url": "http://[abc"}
    assert site.post(JOIN, None, json=body).status_code == 400


def test_many_tags_of_odd_types_are_refused_at_once(site: Site) -> None:
    began = time.monotonic()
    body = {"name": "i", "tags": ["x", *range(15_000)]}
    assert site.post(IMAGES, json=body).status_code == 400
    assert time.monotonic() - began < allowed(SOON)
    assert site.post(IMAGES, json={"name": "i", "tags": ["a", "a"]}).status_code == 400


def test_a_pattern_of_many_maybes_is_refused(site: Site) -> None:
    for pattern in ("a?" * 22 + "a" * 22, r"\\*" * 4, "(a)?"):
        assert site.get(f"{SERVERS}?name={pattern}").status_code == 400
    for pattern in (r"\*\*\*\*", "a?b*", r"\(x\)*"):
        assert site.get(f"{SERVERS}?name={pattern}").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        f"{IMAGES}?size_min={'9' * 25}",
        f"{IMAGES}?size_max={'9' * 20}",
        f"/compute/v2.1/flavors?minRam={'0' * 12}{'9' * 25}",
        f"{SERVERS}?limit={'9' * 4400}",
    ],
)
def test_a_huge_number_in_a_query_is_refused(site: Site, path: str) -> None:
    assert site.get(path).status_code == 400


def test_leading_noughts_are_no_harm(site: Site) -> None:
    assert site.get(f"/compute/v2.1/flavors?limit={'0' * 5000}3").status_code == 200


def test_an_id_with_a_line_end_is_refused(site: Site) -> None:
    body = {"name": "i", "id": f"{uuid.uuid4()}\n"}
    refused = site.post(IMAGES, json=body)
    assert refused.status_code == 400
    assert "id" in refused.text


def test_more_tags_than_a_server_can_have_are_refused_in_a_filter(site: Site) -> None:
    tags = ",".join(f"t{number}" for number in range(51))
    for name in ("tags", "not-tags", "tags-any"):
        assert site.get(f"{SERVERS}?{name}={tags}", version="2.26").status_code == 400


def test_a_time_that_cannot_be_shown_is_refused(site: Site) -> None:
    user = site.get("/identity/v3/auth/tokens", headers={"X-Subject-Token": site.token()})
    path = f"/identity/v3/users/{user.json['token']['user']['id']}/application_credentials"
    for text in ("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"):
        body = {"application_credential": {"name": "late", "expires_at": text}}
        assert site.post(path, json=body).status_code == 400
    assert site.get(path).json["application_credentials"] == []


def test_the_names_of_several_servers_are_cut_to_fit(site: Site) -> None:
    made = site.add_server(name="x" * 255, min_count=12, max_count=12)
    assert made.status_code == 403  # the quota is 10
    assert site.add_server(name="x" * 255, min_count=10, max_count=10).status_code == 202
    with reading() as session:
        names = set(session.scalars(select(Server.name)))
    assert {len(name) for name in names} == {255}
    assert len(names) == 10


def test_nothing_is_made_in_a_project_that_was_just_deleted(site: Site) -> None:
    image = site.add_image()
    with transaction() as session:
        project = session.scalars(select(Project).where(Project.name == "novella")).one()
        session.delete(project)  # as another web process does, whose news takes two seconds
    assert site.add_server(imageRef=image).status_code == 403
    assert site.post(IMAGES, json={"name": "late"}).status_code == 400
