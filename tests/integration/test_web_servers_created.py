"""What a create may ask for, version by version: kept, or refused by name; never ignored."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from sqlalchemy import select

from app.models import Server, ServerNic
from app.store.database import reading
from app.store.plans import build_plan
from tests.integration.test_web_compute import SERVERS, add_host, count
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
OTHER = "5f1c0a52-6f0e-4c0b-9a53-0d1c6f3f7a10"


def create(site: Site, version: str, user: str = "novella", hints: Any = None, **more: Any) -> Any:
    """The answer to a create at `version`; `hints` are top-level keys."""
    wanted = {"name": "vm", "flavorRef": "6"} | more
    wanted.setdefault("imageRef", site.add_image(user))
    if int(version.split(".")[1]) >= 37:
        wanted.setdefault("networks", "auto")
    body = {"server": wanted} | (hints or {})
    return site.post(SERVERS, user, json=body, version=version)


def row(answer: Any) -> Server:
    """The row of what was accepted."""
    assert answer.status_code == 202, answer.text
    with reading() as session:
        return session.get_one(Server, answer.json["server"]["id"])


def nics(server: Server) -> list[str]:
    """The networks that a server asked for."""
    with reading() as session:
        query = select(ServerNic.network_id).where(ServerNic.server_id == server.id)
        return list(session.scalars(query))


def test_all_that_is_asked_for_is_kept(site: Site) -> None:
    hint = {"same_host": [OTHER], "query": '[">=","$free_ram_mb",1]', "mine": {"x": [1]}}
    answer = create(
        site, "2.90", hints={"OS-SCH-HNT:scheduler_hints": hint}, description="text",
        hostname="given", tags=["b", "a", "b"], **{"OS-DCF:diskConfig": "AUTO"},
    )  # fmt: skip
    server = row(answer)
    assert answer.json["server"]["OS-DCF:diskConfig"] == "AUTO"
    assert (server.description, server.hostname, server.disk_config) == ("text", "given", "AUTO")
    assert server.scheduler_hints == hint
    shown = site.get(f"{SERVERS}/{server.id}", version="2.90").json["server"]
    assert shown["tags"] == ["a", "b"]
    assert shown["OS-EXT-SRV-ATTR:hostname"] == "given"
    assert (shown["description"], shown["OS-DCF:diskConfig"]) == ("text", "AUTO")


def test_hints_may_have_either_name(site: Site) -> None:
    hint = {"build_near_host_ip": "10.0.0.1", "cidr": "/24"}
    assert row(create(site, "2.1", hints={"os:scheduler_hints": hint})).scheduler_hints == hint
    assert row(create(site, "2.1")).scheduler_hints == {}


def test_networks_may_be_missing_only_below_2_37(site: Site) -> None:
    default = [site.default_network()]
    assert nics(row(create(site, "2.36"))) == default
    missing = site.post(
        SERVERS,
        json={"server": {"name": "vm", "flavorRef": "6", "imageRef": site.add_image()}},
        version="2.37",
    )
    assert missing.status_code == 400
    assert "networks" in missing.json["badRequest"]["message"]
    assert create(site, "2.36", networks="auto").status_code == 400
    assert nics(row(create(site, "2.37", networks="auto"))) == default
    assert nics(row(create(site, "2.37", networks="none"))) == []
    assert nics(row(create(site, "2.90", networks=[{"uuid": default[0]}]))) == default


@pytest.mark.parametrize(
    ("version", "wanted", "says"),
    [
        ("2.51", {"tags": ["a"]}, "tags"),
        ("2.52", {"tags": ["x" * 61]}, "tags.0"),
        ("2.52", {"tags": ["a,b"]}, "tags.0"),
        ("2.52", {"tags": ["a/b"]}, "tags.0"),
        ("2.52", {"tags": [str(n) for n in range(51)]}, "tags"),
        ("2.56", {"personality": [{"path": "/a", "contents": "x"}]}, "personality.0.contents"),
        ("2.94", {"hostname": "x" * 256}, "hostname"),
        ("2.57", {"personality": []}, "personality"),
        ("2.62", {"trusted_image_certificates": None}, "trusted_image_certificates"),
        ("2.63", {"trusted_image_certificates": ["x"]}, "trusted_image_certificates"),
        ("2.73", {"host": "n1"}, "host"),
        ("2.89", {"hostname": "name"}, "hostname"),
        ("2.90", {"hostname": "a.b"}, "hostname"),
        ("2.90", {"hostname": "-a"}, "hostname"),
        ("2.90", {"hostname": "ok", "max_count": 2}, "hostname"),
        ("2.41", {"networks": [{"uuid": OTHER, "tag": "nic"}]}, "networks"),
        ("2.90", {"networks": "all"}, "networks"),
        ("2.90", {"networks": [{"port": OTHER}]},
         f"networks.0: Port id {OTHER} could not be found"),
        ("2.90", {"description": "x" * 256}, "description"),
        ("2.1", {"OS-DCF:diskConfig": "auto"}, "OS-DCF:diskConfig"),
        ("2.1", {"security_groups": [{"name": OTHER}]},
         f"security_groups: Security group {OTHER} not found"),
        ("2.1", {"availability_zone": "nova:n9"}, None),
        ("2.1", {"block_device_mapping_v2": [
            {"source_type": "image", "boot_index": 0, "disk_bus": "ide"}]}, "block_device"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(
    site: Site, version: str, wanted: dict[str, Any], says: str | None
) -> None:
    user = "admin" if says is None else "novella"
    answer = create(site, version, user, **wanted)
    assert answer.status_code == 400, answer.text
    assert (says or "could not be found") in answer.json["badRequest"]["message"]
    assert count(Server) == 0


def test_a_bad_hint_is_400(site: Site) -> None:
    image = site.add_image()
    for hint in (
        {"group": OTHER},
        {"group": "x"},
        {"same_host": ["x"]},
        {"different_host": 1},
        {"cidr": "24"},
        {"build_near_host_ip": "here"},
        {"target_cell": 1},
    ):
        answer = create(site, "2.1", imageRef=image, hints={"os:scheduler_hints": hint})
        assert answer.status_code == 400, hint
    inside = create(site, "2.1", imageRef=image, **{"os:scheduler_hints": {}})
    assert "os:scheduler_hints" in inside.json["badRequest"]["message"]


def test_several_servers_cannot_share_an_address(site: Site) -> None:
    nic = {"uuid": site.default_network(), "fixed_ip": "10.77.0.50"}
    assert create(site, "2.1", networks=[nic], max_count=2).status_code == 400
    assert create(site, "2.1", networks=[nic]).status_code == 202


def test_administrators_choose_hosts_from_2_74(site: Site) -> None:
    add_host("n1")
    add_host("n2", "east")
    image = site.add_image("admin", visibility="public")

    def asked(user: str = "admin", **more: Any) -> Any:
        return create(site, "2.74", user, imageRef=image, **more)

    assert row(asked(host="n1")).forced_host == "n1"
    assert row(asked(hypervisor_hostname="n2.example")).forced_host == "n2"
    assert row(asked(host="n2", availability_zone="east")).forced_host == "n2"
    assert row(asked(availability_zone="east::n2.example")).forced_host == "n2"
    assert asked("novella", host="n1").status_code == 403
    assert asked("novella", host="n9").status_code == 403
    for wrong in (
        {"host": "n9"},
        {"host": "n1", "hypervisor_hostname": "n2.example"},
        {"availability_zone": "nova:n1:n2.example"},
        {"availability_zone": "nova:n1", "host": "n1"},
    ):
        assert asked(**wrong).status_code == 400, wrong


def test_another_projects_things_look_as_if_they_did_not_exist(site: Site) -> None:
    foreign = site.add_image("other")
    plugged = site.built("other")
    for field, theirs in (
        ("imageRef", foreign),
        ("networks", [{"uuid": plugged}]),
        ("networks", [{"port": plugged}]),
        ("security_groups", [{"name": foreign}]),
    ):
        nowhere = str(uuid.uuid4())
        unknown: Any = nowhere
        if isinstance(theirs, list):
            unknown = [dict.fromkeys(theirs[0], nowhere)]
            id_ = next(iter(theirs[0].values()))
        else:
            id_ = theirs
        first, second = (
            create(site, "2.1", **{field: theirs}),
            create(site, "2.1", **{field: unknown}),
        )
        assert (first.status_code, second.status_code) == (400, 400)
        assert first.text.replace(id_, "ID") == second.text.replace(nowhere, "ID")


def test_files_are_kept_within_the_quota_and_go_into_the_build_plan(site: Site) -> None:
    def files(count: int, path: str = "/etc/f", content: str = "eA==") -> Any:
        given = [{"path": f"{path}{number}", "contents": content} for number in range(count)]
        return create(site, "2.56", personality=given)

    server = row(files(5))
    assert server.files == {f"/etc/f{number}": "eA==" for number in range(5)}
    with reading() as session:
        assert build_plan(session, session.get_one(Server, server.id)).files == server.files
    for refused in (files(6), files(1, path="/" + "p" * 255), files(1, content="eHh4" * 5000)):
        assert refused.status_code == 403
        assert "exceeds the limit" in refused.json["forbidden"]["message"]


def test_newer_versions_show_what_a_server_was_made_with(site: Site) -> None:
    image = site.add_image(hw_rng_model="virtio", mine="x", os_distro="debian")
    hint = {"different_host": OTHER}
    made = create(
        site, "2.94", hints={"os:scheduler_hints": hint}, imageRef=image, hostname="a.example",
        availability_zone="nova",
    )  # fmt: skip
    path = f"{SERVERS}/{row(made).id}"
    assert site.get(path, version="2.94").json["server"]["OS-EXT-SRV-ATTR:hostname"] == "a.example"
    older = site.get(path, version="2.95").json["server"]
    newest = site.get(path, version="2.104").json["server"]
    assert set(newest) - set(older) == {"pinned_availability_zone", "scheduler_hints"}
    assert (newest["pinned_availability_zone"], newest["scheduler_hints"]) == ("nova", hint)
    assert newest["image"]["properties"] == {"hw_rng_model": "virtio", "os_distro": "debian"}
    assert "properties" not in site.get(path, version="2.97").json["server"]["image"]
