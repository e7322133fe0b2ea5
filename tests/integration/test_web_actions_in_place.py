"""Server actions that leave a server where and what it is: guards, bodies, what they record."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.guest import RUNNING, Diagnostics, DiskUse, NicUse
from app.models import Action
from app.store import database
from tests.integration.test_web_compute import SERVERS, add_host
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]

ALLOWED = {
    "pause": ("active", "pausing"),
    "unpause": ("paused", "unpausing"),
    "suspend": ("active", "suspending"),
    "resume": ("suspended", "resuming"),
}
USE = Diagnostics(
    driver="libvirt",
    hypervisor="qemu",
    power_state=RUNNING,
    cpu_times=(7,),
    memory_mb=64,
    memory_used_mb=5,
    disks=(DiskUse("vda", 1, 2, 3, 4, 0),),
    nics=(NicUse("vnet0", "fa:16:3e:00:00:01", 1, 2, 3, 4, 5, 6, 7, 8),),
)


def act(site: Site, server: str, body: Any, user: str = "novella", **more: Any) -> Any:
    return site.post(f"{SERVERS}/{server}/action", user, json=body, **more)


def message(answer: Any) -> str:
    return str(next(iter(answer.json.values()))["message"])


def test_each_is_accepted_in_its_state_alone_and_not_when_locked(site: Site) -> None:
    server = site.built()
    for name in ALLOWED:
        check_guards(site, server, name)
        site.set_server(server, task_state=None)


def check_guards(site: Site, server: str, name: str) -> None:
    state, task_state = ALLOWED[name]
    wrong = "stopped"
    site.set_server(server, vm_state=wrong)
    refused = act(site, server, {name: None})
    assert refused.status_code == 409
    assert message(refused) == (
        f"Cannot '{name}' instance {server} while it is in vm_state {wrong}"
    )
    site.set_server(server, vm_state=state, locked="owner")
    assert "is locked" in message(act(site, server, {name: None}))
    site.set_server(server, locked=None)
    accepted = act(site, server, {name: None})
    assert (accepted.status_code, accepted.data) == (202, b"")
    shown = site.get(f"{SERVERS}/{server}").json["server"]
    assert shown["OS-EXT-STS:task_state"] == task_state
    busy = act(site, server, {name: None})
    assert message(busy) == (
        f"Cannot '{name}' instance {server} while it is in task_state {task_state}"
    )
    listed = site.get(f"{SERVERS}/{server}/os-instance-actions").json["instanceActions"]
    assert listed[0]["action"] == name


def test_a_hard_reboot_takes_over_what_lets_a_guest_stand_still(site: Site) -> None:
    server = site.built()
    first = act(site, server, {"pause": None}).headers["X-Task-Id"]
    assert act(site, server, {"reboot": {"type": "HARD"}}).status_code == 202
    assert site.get(f"/v1/tasks/{first}").json["state"] == "cancelled"


def test_a_crash_dump_shows_no_task_state_but_keeps_others_out(site: Site) -> None:
    server = site.built()
    assert act(site, server, {"trigger_crash_dump": None}).status_code == 404
    bad = act(site, server, {"trigger_crash_dump": {}}, version="2.17")
    assert (bad.status_code, "trigger_crash_dump" in message(bad)) == (400, True)
    assert act(site, server, {"trigger_crash_dump": None}, version="2.17").status_code == 202
    assert site.get(f"{SERVERS}/{server}").json["server"]["OS-EXT-STS:task_state"] is None
    assert act(site, server, {"pause": None}).status_code == 409
    assert site.delete(f"{SERVERS}/{server}").status_code == 204


def test_an_administrator_declares_a_servers_state_over_whatever_it_does(site: Site) -> None:
    server = site.built()
    first = act(site, server, {"pause": None}).headers["X-Task-Id"]
    body = {"os-resetState": {"state": "error"}}
    assert act(site, server, body).status_code == 403
    assert act(site, server, {"os-resetState": {"state": "new"}}, "admin").status_code == 400
    assert act(site, server, body, "admin").status_code == 202
    assert site.get(f"/v1/tasks/{first}").json["state"] == "cancelled"
    shown = site.get(f"{SERVERS}/{server}").json["server"]
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("ERROR", None)
    assert act(site, server, {"os-resetState": {"state": "active"}}, "admin").status_code == 202
    assert site.get(f"{SERVERS}/{server}").json["server"]["status"] == "ACTIVE"


def test_what_is_gone_or_has_nothing_to_do(site: Site) -> None:
    server = site.built()
    assert act(site, server, {"resetNetwork": None}).status_code == 410
    assert act(site, server, {"injectNetworkInfo": None}).status_code == 403
    assert act(site, server, {"injectNetworkInfo": None}, "admin").status_code == 202
    restore = act(site, server, {"restore": None})
    assert restore.status_code == 409
    assert "while it is in vm_state active" in message(restore)
    assert act(site, server, {"forceDelete": None}).status_code == 202
    assert site.get(f"{SERVERS}/{server}").json["server"]["OS-EXT-STS:task_state"] == "deleting"


def test_a_password_is_changed_where_an_agent_answers_and_kept_nowhere(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = site.built()
    body = {"changePassword": {"adminPass": "hush-hush"}}
    assert act(site, server, {"changePassword": {}}).status_code == 400
    assert act(site, server, body).status_code == 409, "its host is not known"
    add_host()
    monkeypatch.setattr("app.tasks.host_reads.has_agent", lambda host, server_id: False)
    refused = act(site, server, body)
    assert (refused.status_code, "guest agent" in message(refused)) == (409, True)
    monkeypatch.setattr("app.tasks.host_reads.has_agent", lambda host, server_id: True)
    accepted = act(site, server, body)
    assert accepted.status_code == 202
    assert site.get(f"{SERVERS}/{server}").json["server"]["status"] == "PASSWORD"
    with database.reading() as session:
        action = session.get_one(Action, accepted.headers["X-Task-Id"])
        assert "hush-hush" not in str(action.args)


def test_no_password_is_told_by_guests(site: Site) -> None:
    server = site.built()
    path = f"{SERVERS}/{server}/os-server-password"
    assert site.get(path).json == {"password": ""}
    assert site.delete(path).status_code == 204


def test_diagnostics_in_both_forms(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    server = site.built()
    path = f"{SERVERS}/{server}/diagnostics"
    assert site.get(path).status_code == 403
    assert site.get(path, "admin").status_code == 409
    add_host()
    monkeypatch.setattr("app.tasks.host_reads.diagnostics", lambda host, server_id: USE)
    old = site.get(path, "admin").json
    assert old == {
        "cpu0_time": 7, "memory": 65536,
        "vda_read": 1, "vda_read_req": 2, "vda_write": 3, "vda_write_req": 4, "vda_errors": 0,
        "vnet0_rx": 1, "vnet0_rx_packets": 2, "vnet0_rx_errors": 3, "vnet0_rx_drop": 4,
        "vnet0_tx": 5, "vnet0_tx_packets": 6, "vnet0_tx_errors": 7, "vnet0_tx_drop": 8,
    }  # fmt: skip
    new = site.get(path, "admin", version="2.48").json
    assert (new["state"], new["driver"], new["hypervisor"]) == ("running", "libvirt", "qemu")
    assert (new["num_cpus"], new["num_nics"], new["num_disks"]) == (1, 1, 1)
    assert new["cpu_details"] == [{"id": 0, "time": 7, "utilisation": None}]
    assert new["memory_details"] == {"maximum": 64, "used": 5}


LATER: list[tuple[str, Any, str, int, str]] = [
    ("resize", {"flavorRef": "1"}, "novella", 400, "No valid host"),
    ("resize", {"flavorRef": "6"}, "novella", 400, "must change flavor"),
    ("resize", {"flavorRef": "none"}, "novella", 400, "could not be found"),
    ("confirmResize", None, "novella", 409, "in vm_state active"),
    ("revertResize", None, "novella", 409, "in vm_state active"),
    ("migrate", None, "admin", 400, "No valid host"),
    ("os-migrateLive", {"host": None, "block_migration": "auto"}, "admin", 400, "No valid host"),
    ("evacuate", {}, "admin", 400, "No valid host"),
    ("shelve", None, "novella", 400, "not available"),
    ("shelveOffload", None, "admin", 409, "in vm_state active"),
    ("unshelve", None, "novella", 409, "in vm_state active"),
]


def test_what_comes_later_is_refused_as_where_nothing_can_do_it(site: Site) -> None:
    server = site.built()
    for name, value, user, status, says in LATER:
        answer = act(site, server, {name: value}, user, version="2.56")
        assert (answer.status_code, says in message(answer)) == (status, True), answer.text
    assert site.get(f"{SERVERS}/{server}").json["server"]["OS-EXT-STS:task_state"] is None


def test_there_are_no_remote_consoles_yet(site: Site) -> None:
    server = site.built()
    old = act(site, server, {"os-getVNCConsole": {"type": "novnc"}})
    assert (old.status_code, message(old)) == (400, "Unavailable console type novnc.")
    assert act(
        site, server, {"os-getVNCConsole": {"type": "novnc"}}, version="2.6"
    ).status_code == (404)
    body = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
    path = f"{SERVERS}/{server}/remote-consoles"
    assert site.post(path, json=body).status_code == 404
    assert site.post(path, json=body, version="2.6").status_code == 400


def rebuild(
    site: Site, server: str, user: str = "novella", version: str = "2.1", **body: Any
) -> Any:
    return act(site, server, {"rebuild": body}, user, version=version)


def test_a_rebuild_shows_the_new_server_at_once(site: Site) -> None:
    server, image = site.built(), site.add_image()
    changes = {"imageRef": image, "name": " other ", "metadata": {"a": "b"}, "adminPass": "given"}
    answer = rebuild(site, server, **changes, accessIPv4="192.0.2.9", preserve_ephemeral=False)
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"].endswith(f"/servers/{server}")
    shown = answer.json["server"]
    assert (shown["name"], shown["image"]["id"], shown["status"]) == ("other", image, "REBUILD")
    assert (shown["metadata"], shown["adminPass"]) == ({"a": "b"}, "given")
    assert shown["accessIPv4"] == "192.0.2.9"
    assert "key_name" not in shown
    assert not [name for name in shown if name.startswith("OS-EXT")]
    task = site.get(f"/v1/tasks/{answer.headers['X-Task-Id']}").json
    assert (task["kind"], task["stage"]) == ("rebuild", "rebuild")


def test_a_rebuild_of_each_version_takes_and_shows_what_it_has(site: Site) -> None:
    server, image = site.built(), site.add_image()
    for version, field, value in (
        ("2.18", "description", "d"), ("2.53", "key_name", None), ("2.56", "user_data", None),
        ("2.57", "personality", []), ("2.62", "trusted_image_certificates", None),
        ("2.89", "hostname", "web-2"),
    ):  # fmt: skip
        refused = rebuild(site, server, version=version, imageRef=image, **{field: value})
        assert (refused.status_code, field in message(refused)) == (400, True), field
    body = {"description": "d", "key_name": None, "user_data": "aGk=", "hostname": "web-2"}
    shown = rebuild(site, server, version="2.90", imageRef=image, **body).json["server"]
    assert (shown["description"], shown["key_name"], shown["user_data"]) == ("d", None, "aGk=")
    assert shown["OS-EXT-SRV-ATTR:hostname"] == "web-2"
    assert shown["OS-EXT-STS:task_state"] == "rebuilding"
    site.set_server(server, task_state=None)
    told = rebuild(site, server, "admin", version="2.75", imageRef=site.add_image("admin"))
    assert "OS-EXT-SRV-ATTR:user_data" not in told.json["server"], "it is there as user_data"


def test_a_rebuild_tells_an_administrator_the_user_data_once(site: Site) -> None:
    server, image = site.built(), site.add_image("admin", visibility="public")
    shown = rebuild(site, server, "admin", "2.75", imageRef=image).json["server"]
    assert {"user_data", "OS-EXT-SRV-ATTR:host"} <= set(shown)
    assert "OS-EXT-SRV-ATTR:user_data" not in shown


def test_a_rebuild_that_cannot_be_is_refused_and_changes_nothing(site: Site) -> None:
    server, image = site.built(), site.add_image()
    large = site.add_image(min_disk=100)
    for body, says in (
        ({}, "imageRef"),
        ({"imageRef": "x"}, "imageRef"),
        ({"imageRef": "00000000-0000-4000-8000-000000000000"}, "Can not find requested image"),
        ({"imageRef": large}, "minimum size"),
        ({"imageRef": image, "accessIPv4": "x"}, "rebuild.accessIPv4"),
        ({"imageRef": image, "name": ""}, "rebuild.name"),
        ({"imageRef": image, "personality": [{"path": "/a"}]}, "rebuild.personality"),
        ({"imageRef": image, "colour": "red"}, "colour"),
    ):
        answer = rebuild(site, server, **body)
        assert (answer.status_code, says in message(answer)) == (400, True), answer.text
    site.set_server(server, vm_state="paused")
    assert message(rebuild(site, server, imageRef=image)) == (
        f"Cannot 'rebuild' instance {server} while it is in vm_state paused"
    )
    assert rebuild(site, server, "other", imageRef=image).status_code == 404
    assert site.get(f"{SERVERS}/{server}").json["server"]["image"]["id"] != image


def test_a_rescue_answers_with_a_password_and_its_image_must_be_there(site: Site) -> None:
    server = site.built()
    nowhere = {"rescue": {"rescue_image_ref": "00000000-0000-4000-8000-000000000000"}}
    assert act(site, server, nowhere).status_code == 400
    assert act(site, server, {"rescue": {"image": "x"}}).status_code == 400
    assert act(site, server, {"unrescue": None}).status_code == 409
    answer = act(site, server, {"rescue": {"adminPass": "given"}})
    assert (answer.status_code, answer.json) == (200, {"adminPass": "given"})
    site.set_server(server, vm_state="rescued", task_state=None)
    shown = site.get(f"{SERVERS}/{server}").json["server"]
    assert shown["status"] == "RESCUE"
    assert act(site, server, {"rescue": None}).status_code == 409
    assert act(site, server, {"unrescue": None}).status_code == 202


def test_a_snapshot_tells_its_image_as_its_version_does(site: Site) -> None:
    server = site.built()
    site.set_server(server, locked="owner")
    for body, field in (
        ({"createImage": {}}, "name"),
        ({"createImage": {"name": " "}}, "createImage.name"),
        ({"createImage": {"name": "a", "metadata": {"k": 1}}}, "createImage.metadata"),
        ({"createBackup": {"name": "a", "backup_type": "daily"}}, "rotation"),
        ({"createBackup": {"name": "a", "backup_type": "daily", "rotation": -1}}, "rotation"),
    ):
        refused = act(site, server, body)
        assert (refused.status_code, field in message(refused)) == (400, True), refused.text
    old = act(site, server, {"createImage": {"name": "a"}})
    assert (old.status_code, old.data) == (202, b"")
    path = "/image/v2/images/" + old.headers["Location"].rsplit("/", 1)[-1]
    shown = site.get(path).json
    assert (shown["status"], shown["image_type"], shown["visibility"]) == (
        "saving", "snapshot", "private",
    )  # fmt: skip
    busy = act(site, server, {"createImage": {"name": "a"}})
    assert message(busy) == (
        f"Cannot 'createImage' instance {server} while it is in task_state image_snapshot_pending"
    )
    act(site, server, {"os-resetState": {"state": "active"}}, "admin")
    assert site.get(path).status_code == 404, "its request was ended"
    body = {"createBackup": {"name": "a", "backup_type": "daily", "rotation": "1"}}
    new = act(site, server, body, version="2.45")
    assert (new.status_code, list(new.json)) == (202, ["image_id"])
    assert site.get(f"{SERVERS}/{server}").json["server"]["OS-EXT-STS:task_state"] == "image_backup"
    site.set_server(server, vm_state="error", task_state=None)
    assert act(site, server, body).status_code == 409


def test_an_interface_is_asked_for_shown_and_given_back(site: Site) -> None:
    server, network = site.built(), site.default_network()
    path = f"{SERVERS}/{server}/os-interface"
    assert site.get(path).json == {"interfaceAttachments": []}
    body = {"net_id": network, "fixed_ips": [{"ip_address": "10.77.0.77"}]}
    answer = site.post(path, json={"interfaceAttachment": body})
    assert answer.status_code == 200, answer.text
    made = answer.json["interfaceAttachment"]
    assert (made["net_id"], made["port_state"]) == (network, "BUILD")
    assert [one["ip_address"] for one in made["fixed_ips"]] == ["10.77.0.77"]
    assert site.post(path, json={}).status_code == 409, "one at a time"
    site.set_server(server, task_state=None)
    one = f"{path}/{made['port_id']}"
    assert site.get(one).json["interfaceAttachment"]["port_state"] == "ACTIVE"
    assert "tag" in site.get(one, version="2.70").json["interfaceAttachment"]
    addresses = site.get(f"{SERVERS}/{server}/ips").json["addresses"]
    assert [nic["addr"] for nics in addresses.values() for nic in nics] == ["10.77.0.77"]
    assert site.get(one, "other").status_code == 404
    assert site.delete(f"{path}/{network}").status_code == 404
    assert site.delete(one).status_code == 202
    assert len(site.get(path).json["interfaceAttachments"]) == 1, "until its host has done it"
    site.set_server(server, task_state=None, vm_state="suspended")
    assert "attach_interface" in message(site.post(path, json={}))


def test_a_bad_attachment_is_refused_by_name_and_takes_nothing(site: Site) -> None:
    server, network = site.built(), site.default_network()
    path = f"{SERVERS}/{server}/os-interface"
    nobody = "00000000-0000-4000-8000-000000000000"
    for body, status, says in (
        ({"net_id": network, "port_id": nobody}, 400, "not both"),
        ({"fixed_ips": [{"ip_address": "10.77.0.9"}]}, 400, "net_id"),
        ({"net_id": network, "fixed_ips": [{"ip_address": "x"}]}, 400, "fixed_ips.0.ip_address"),
        ({"net_id": network, "fixed_ips": [{"ip_address": "192.0.2.1"}]}, 400, "192.0.2.1"),
        ({"net_id": network, "fixed_ips": [{"ip_address": "10.77.0.1"}]}, 400, "in use"),
        ({"net_id": nobody}, 404, nobody),
        ({"port_id": nobody}, 404, nobody),
        ({"colour": "red"}, 400, "colour"),
        ({"tag": "a"}, 400, "tag"),
    ):
        answer = site.post(path, json={"interfaceAttachment": body})
        assert (answer.status_code, says in message(answer)) == (status, True), answer.text
    assert site.get(path).json == {"interfaceAttachments": []}
    assert site.get(f"{SERVERS}/{server}").json["server"]["OS-EXT-STS:task_state"] is None
    site.set_server(server, locked="admin")
    assert "is locked" in message(site.post(path, json={}))
