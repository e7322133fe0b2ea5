"""The door by which hosts join, over HTTP."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings
from app.errors import Conflict
from app.images.keys import load_keys
from app.joining import broker_for_hosts, make_token
from app.models import Host
from app.store import database
from app.web.factory import create_app
from tests.integration.web_fixtures import (
    Site,
    adopt_settings,
    note_misshapen,
    seeded_database,
    site,
)

__all__ = ["seeded_database", "site"]

URL = "http://10.1.1.1:8774"
REDIS = "redis://:pw@127.0.0.1:6400/0"
RABBIT = "amqp://n:pw@mq1//;amqp://n:pw@mq2//"
SENTINELS = "sentinel://:pw@r1:26379;sentinel://r2:26379/0?master_name=novella"


@pytest.fixture
def open_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The application, as if it listened on a network; its answers have their shapes, too."""
    settings = adopt_settings(
        monkeypatch, site.directory, bind="10.1.1.1", broker_url=REDIS, beat_seconds="1"
    )
    made = Site(create_app(settings), site.directory)
    misshapen = note_misshapen(made.app)
    yield made
    assert misshapen == set()


def token(site: Site, seconds: float = 60) -> str:
    return make_token(load_keys(site.directory / "keys"), seconds)


def wish(site: Site, **more: object) -> dict[str, object]:
    return {"token": token(site), "name": "n2", "uuid": str(uuid.uuid4()), "url": URL} | more


def add_host(name: str, host_uuid: str, state: str = "up") -> None:
    with database.transaction() as session:
        session.add(
            Host(
                name=name,
                uuid=host_uuid,
                number=1,
                session="s",
                state=state,
                vcpus=1,
                ram_mb=1024,
                disk_gb=1,
                cpu_ratio=1,
                ram_ratio=1,
                disk_ratio=1,
            )
        )


def test_a_machine_with_a_token_is_told_what_it_needs(open_site: Site) -> None:
    answer = open_site.post("/v1/hosts/join", None, json=wish(open_site))
    assert answer.status_code == 200, answer.text
    assert answer.json["broker_url"] == "redis://:pw@10.1.1.1:6400/0"
    assert answer.json["settings"] == {"beat_seconds": 1.0}
    assert uuid.UUID(answer.json["cloud_id"])
    assert answer.headers["Cache-Control"] == "no-store"


def test_nobody_joins_a_cloud_that_only_this_machine_reaches(site: Site) -> None:
    answer = site.post("/v1/hosts/join", None, json=wish(site))
    assert answer.status_code == 409
    assert "set NOVELLA_BIND" in answer.json["detail"]
    local = site.post("/v1/hosts/join", None, json=wish(site, url="http://127.0.0.1:8774"))
    assert local.status_code == 200


@pytest.mark.parametrize("kind", ["forged", "expired", "of another cloud"])
def test_without_a_good_token_the_door_is_shut(open_site: Site, tmp_path: Path, kind: str) -> None:
    made = {
        "forged": token(open_site)[:-2] + "xx",
        "expired": token(open_site, -1),
        "of another cloud": make_token(load_keys(tmp_path / "other"), 60),
    }[kind]
    for path in ("join", "standing"):
        body = wish(open_site, token=made)
        if path == "standing":
            del body["url"]
        answer = open_site.post(f"/v1/hosts/{path}", None, json=body)
        assert answer.status_code == 401, answer.text
        assert "novella host token" in answer.json["detail"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "a b"),
        ("name", "n2\n"),
        ("name", "../n2"),
        ("name", "n" * 64),
        ("name", 2),
        ("uuid", "n2"),
        ("url", "ftp://x"),
        ("url", "http://user:pw@host"),
        ("known", "maybe"),
        ("more", 1),
    ],
)
def test_bad_fields_are_named(open_site: Site, field: str, value: object) -> None:
    answer = open_site.post("/v1/hosts/join", None, json=wish(open_site, **{field: value}))
    assert answer.status_code == 400
    assert field in answer.json["detail"]


def test_a_name_belongs_to_one_machine(open_site: Site) -> None:
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    add_host("n2", first, "down")
    other = open_site.post("/v1/hosts/join", None, json=wish(open_site, uuid=second))
    assert other.status_code == 409
    assert "choose another with --name" in other.json["detail"]
    again = open_site.post("/v1/hosts/join", None, json=wish(open_site, uuid=first.upper()))
    assert again.status_code == 200, again.text
    renamed = open_site.post("/v1/hosts/join", None, json=wish(open_site, uuid=first, name="n3"))
    assert renamed.status_code == 409
    assert "is the host n2 already" in renamed.json["detail"]


def test_a_copy_of_a_host_that_is_up_is_told_from_the_host(open_site: Site) -> None:
    host_uuid = str(uuid.uuid4())
    add_host("n2", host_uuid)
    copy = open_site.post("/v1/hosts/join", None, json=wish(open_site, uuid=host_uuid))
    assert (copy.status_code, copy.json["code"]) == (409, "host_name_taken")
    body = wish(open_site, uuid=host_uuid, known=True)
    assert open_site.post("/v1/hosts/join", None, json=body).status_code == 200


def test_how_far_a_joining_host_has_got(open_site: Site) -> None:
    host_uuid = str(uuid.uuid4())
    body = wish(open_site, uuid=host_uuid)
    del body["url"]
    assert open_site.post("/v1/hosts/standing", None, json=body).json["state"] == "absent"
    add_host("n2", host_uuid, "reconciling")
    answer = open_site.post("/v1/hosts/standing", None, json=body)
    assert answer.json == {"name": "n2", "state": "reconciling"}


def test_administrators_make_tokens_and_list_hosts_and_nobody_else(open_site: Site) -> None:
    made = open_site.post("/v1/hosts/tokens", "admin", json={"minutes": 1})
    assert made.status_code == 201, made.text
    body = wish(open_site, token=made.json["token"])
    assert open_site.post("/v1/hosts/join", None, json=body).status_code == 200
    assert open_site.get("/v1/hosts", "admin").json == {"hosts": []}
    assert open_site.post("/v1/hosts/tokens", "admin", json={"minutes": 1441}).status_code == 400
    for method, path in (("GET", "/v1/hosts"), ("POST", "/v1/hosts/tokens")):
        assert open_site.call(method, path, "novella", json={}).status_code == 403
        assert open_site.call(method, path, None, json={}).status_code == 401


@pytest.mark.parametrize(
    ("bind", "broker", "asked", "told"),
    [
        ("0.0.0.0", REDIS, "http://cloud.example:8774", "redis://:pw@cloud.example:6400/0"),
        ("::", REDIS, "http://[fd00::1]:8774", "redis://:pw@[fd00::1]:6400/0"),
        ("10.1.1.1", REDIS, "https://proxy.example", "redis://:pw@10.1.1.1:6400/0"),
        ("127.0.0.1", "rediss://r:6379/1", "https://proxy.example", "rediss://r:6379/1"),
        ("127.0.0.1", REDIS, "http://localhost:8774", REDIS),
        ("127.0.0.1", RABBIT, "https://proxy.example", RABBIT),
        ("127.0.0.1", SENTINELS, "https://proxy.example", SENTINELS),
    ],
)
def test_redis_is_where_the_joining_host_reaches_it(
    bind: str, broker: str, asked: str, told: str
) -> None:
    assert broker_for_hosts(Settings(bind=bind), broker, asked) == told


@pytest.mark.parametrize(
    "broker",
    [
        REDIS,
        "redis+socket:///run/redis.sock",
        "amqp://n:pw@localhost//",
        "sentinel://10.1.1.1:26379;sentinel://127.0.0.1:26379/0?master_name=novella",
    ],
)
def test_a_broker_that_no_host_reaches_is_no_broker_for_hosts(broker: str) -> None:
    with pytest.raises(Conflict):
        broker_for_hosts(Settings(), broker, URL)


def test_the_keys_of_a_cloud_are_used_in_turn(open_site: Site) -> None:
    old = token(open_site)
    keys = open_site.directory / "keys"
    (keys / "0002.key").write_text("another key\n")
    body = wish(open_site, token=old)
    assert open_site.post("/v1/hosts/join", None, json=body).status_code == 200
    shutil.rmtree(keys)
    assert open_site.post("/v1/hosts/join", None, json=body).status_code == 401
