"""What servers look like, version by version; their addresses and security groups."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select

from app.domain.security_groups import default_id
from app.models import Port, Server, ServerSecurityGroup, Subnet
from app.store import security_groups
from app.store.database import transaction
from tests.integration.test_web_compute import SERVERS, V, add_host
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
BASE = {
    "id", "name", "status", "tenant_id", "user_id", "metadata", "hostId", "image", "flavor",
    "created", "updated", "addresses", "accessIPv4", "accessIPv6", "links", "OS-DCF:diskConfig",
    "progress",
}  # fmt: skip
EXTENDED = {
    "OS-EXT-AZ:availability_zone", "config_drive", "key_name", "OS-SRV-USG:launched_at",
    "OS-SRV-USG:terminated_at", "OS-EXT-STS:task_state", "OS-EXT-STS:vm_state",
    "OS-EXT-STS:power_state", "os-extended-volumes:volumes_attached", "security_groups",
}  # fmt: skip
NEWER = {
    "2.9": {"locked"},
    "2.19": {"description"},
    "2.26": {"tags"},
    "2.63": {"trusted_image_certificates"},
    "2.73": {"locked_reason"},
}
ADMINS = {
    "OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:hypervisor_hostname", "OS-EXT-SRV-ATTR:instance_name",
}  # fmt: skip
ADMINS_2_3 = {
    "OS-EXT-SRV-ATTR:hostname", "OS-EXT-SRV-ATTR:reservation_id", "OS-EXT-SRV-ATTR:launch_index",
    "OS-EXT-SRV-ATTR:kernel_id", "OS-EXT-SRV-ATTR:ramdisk_id", "OS-EXT-SRV-ATTR:root_device_name",
    "OS-EXT-SRV-ATTR:user_data",
}  # fmt: skip
VERSIONS = ["2.1", "2.3", "2.9", "2.16", "2.19", "2.26", "2.47", "2.63", "2.71", "2.73", "2.75",
            "2.90"]  # fmt: skip


def number(version: str) -> int:
    """The minor part."""
    return int(version.split(".")[1])


def newer(version: str) -> set[str]:
    """What all views have gained up to `version`."""
    gained = (keys for since, keys in NEWER.items() if number(since) <= number(version))
    return set().union(*gained)


def plugged(site: Site, **more: Any) -> str:
    """A built server with an address."""
    server = site.built(**more)
    with transaction() as session:
        subnet = session.scalars(select(Subnet)).one()
        project = session.get_one(Server, server).project_id
        port = Port(
            project_id=project,
            network_id=subnet.network_id,
            subnet_id=subnet.id,
            server_id=server,
            mac="fa:16:3e:00:00:01",
            address="10.77.0.9",
        )
        session.add(port)
        session.flush()
        security_groups.join(session, [port.id], [default_id(project)])
    return server


def test_each_version_shows_its_own_keys_and_no_others(site: Site) -> None:
    add_host()
    server = plugged(site)
    for version in VERSIONS:
        check_shown(site, server, version)


def check_shown(site: Site, server: str, version: str) -> None:
    """List and show have just the keys of `version`, for owners and for administrators."""
    keys = BASE | EXTENDED | newer(version)
    if number(version) >= 90:
        keys |= {"OS-EXT-SRV-ATTR:hostname"}
    (listed,) = site.get(f"{SERVERS}/detail", version=version).json["servers"]
    assert set(listed) == keys, version
    groups = {"server_groups"} if number(version) >= 71 else set()
    shown = site.get(f"{SERVERS}/{server}", version=version).json["server"]
    assert set(shown) == keys | groups, version
    for_admin = site.get(f"{SERVERS}/{server}", "admin", version=version).json["server"]
    extra = ADMINS | (ADMINS_2_3 if number(version) >= 3 else set())
    extra |= {"host_status"} if number(version) >= 16 else set()
    assert set(for_admin) == keys | groups | extra, version


def test_a_change_answers_with_less_before_2_75(site: Site) -> None:
    server = plugged(site)
    for version in VERSIONS:
        check_changed(site, server, version)


def check_changed(site: Site, server: str, version: str) -> None:
    """A change's answer has just the keys of `version`."""
    answer = site.call(
        "PUT", f"{SERVERS}/{server}", json={"server": {"name": "new"}}, version=version
    )
    assert answer.status_code == 200, answer.text
    changed = answer.json["server"]
    keys = BASE | newer(version)
    keys |= {"server_groups"} if number(version) >= 71 else set()
    keys |= EXTENDED if number(version) >= 75 else set()
    keys |= {"OS-EXT-SRV-ATTR:hostname"} if number(version) >= 90 else set()
    assert set(changed) == keys, version
    (address,) = changed["addresses"]["default"]
    assert ("OS-EXT-IPS:type" in address) is (number(version) >= 75)


def test_the_flavor_is_a_link_and_from_2_47_a_copy(site: Site) -> None:
    server = site.built()
    old = site.get(f"{SERVERS}/{server}", version="2.46").json["server"]["flavor"]
    assert (old["id"], set(old)) == ("6", {"id", "links"})
    new = site.get(f"{SERVERS}/{server}", version="2.47").json["server"]["flavor"]
    assert new == {
        "original_name": "tiny", "vcpus": 1, "ram": 192, "disk": 1, "ephemeral": 0, "swap": 0,
        "extra_specs": {},
    }  # fmt: skip


def test_addresses_are_shown_by_network(site: Site) -> None:
    server = plugged(site)
    path = f"{SERVERS}/{server}/ips"
    address = [{"addr": "10.77.0.9", "version": 4}]
    assert site.get(path).json == {"addresses": {"default": address}}
    assert site.get(f"{path}/default").json == {"default": address}
    assert site.get(f"{path}/elsewhere").status_code == 404
    assert site.get(f"{path}/default", "other").status_code == 404


def test_a_plugged_server_is_in_the_default_group_and_another_in_none(site: Site) -> None:
    server, bare = plugged(site), site.built()
    with transaction() as session:  # one that was asked for without a network
        mine = ServerSecurityGroup.server_id == bare
        session.execute(delete(ServerSecurityGroup).where(mine))
    (group,) = site.get(f"{SERVERS}/{server}/os-security-groups").json["security_groups"]
    assert (group["name"], len(group["rules"])) == ("default", 4)
    assert site.get(f"{SERVERS}/{bare}/os-security-groups").json == {"security_groups": []}
    assert "security_groups" not in site.get(f"{SERVERS}/{bare}").json["server"]
    assert site.get(f"{SERVERS}/{server}/os-security-groups", "other").status_code == 404
    by_id = site.add_server(security_groups=[{"name": group["id"]}])
    assert by_id.status_code == 202, by_id.text


def test_the_version_document_tells_the_newest_version(site: Site) -> None:
    assert site.get(V, None).json["version"]["version"] == "2.104"
