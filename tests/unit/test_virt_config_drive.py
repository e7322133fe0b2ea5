"""What cloud-init finds on a config drive."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from io import BytesIO

import pycdlib
import pytest

from app.domain.message import BuildPlan, Nic
from app.domain.resources import Resources
from app.errors import HostFault
from app.virt.libvirt.config_drive import config_drive, files

NIC = Nic(
    port_id="90700000-0000-4000-8000-000000000004",
    mac="fa:16:3e:00:00:01",
    address="10.9.0.7",
    network_id="net",
    network_name="default",
    cidr="10.9.0.0/24",
    gateway="10.9.0.1",
    dns=("192.0.2.53",),
    mtu=1442,
)
PLAN = BuildPlan(
    server_id="5e7e0000-0000-4000-8000-000000000002",
    project_id="project",
    user_id="user",
    fence=7,
    name="Web",
    hostname="web",
    flavor_name="m1.small",
    resources=Resources(2, 2048, 20),
    image=None,
    nics=(NIC,),
    availability_zone="nova",
    metadata={"role": "front"},
    user_data=base64.b64encode(b"#!/bin/sh\n\xff").decode(),
    key_name="mine",
    public_key="ssh-ed25519 AAAA me",
)


def test_the_iso_has_cloud_inits_label_and_its_long_names():
    iso = pycdlib.PyCdlib()
    iso.open_fp(BytesIO(config_drive(PLAN)))
    assert iso.pvd.volume_identifier.decode().strip() == "config-2"
    for kind in ("rr_path", "joliet_path"):
        content = BytesIO()
        iso.get_file_from_iso_fp(content, **{kind: "/openstack/latest/meta_data.json"})
        assert json.loads(content.getvalue())["uuid"] == PLAN.server_id
    content = BytesIO()
    iso.get_file_from_iso_fp(content, rr_path="/openstack/2018-08-27/user_data")
    assert content.getvalue() == b"#!/bin/sh\n\xff"
    iso.close()


def test_the_metadata_is_novas():
    found = json.loads(files(PLAN)["openstack/latest/meta_data.json"])
    assert len(base64.b64decode(found.pop("random_seed"))) == 512
    assert found == {
        "uuid": PLAN.server_id,
        "name": "Web",
        "hostname": "web",
        "availability_zone": "nova",
        "launch_index": 0,
        "project_id": "project",
        "meta": {"role": "front"},
        "devices": [],
        "public_keys": {"mine": "ssh-ed25519 AAAA me"},
        "keys": [{"name": "mine", "type": "ssh", "data": "ssh-ed25519 AAAA me"}],
    }


def test_the_network_data_names_mac_mtu_and_dns():
    found = json.loads(files(PLAN)["openstack/latest/network_data.json"])
    (link,), (network,) = found["links"], found["networks"]
    assert (link["ethernet_mac_address"], link["mtu"]) == (NIC.mac, 1442)
    assert (network["type"], network["link"]) == ("ipv4_dhcp", link["id"])
    assert found["services"] == [{"type": "dns", "address": "192.0.2.53"}]


def test_without_user_data_or_key_there_are_no_such_files():
    bare = files(replace(PLAN, user_data=None, public_key=None, nics=()))
    assert not [path for path in bare if "user" in path]
    assert "public_keys" not in json.loads(bare["openstack/latest/meta_data.json"])
    assert json.loads(bare["ec2/latest/meta-data.json"])["local-ipv4"] == ""


def test_user_data_that_is_not_base64_is_a_fault_that_no_other_host_mends():
    with pytest.raises(HostFault) as caught:
        files(replace(PLAN, user_data="secret"[:5]))
    assert (caught.value.code, caught.value.retriable) == ("bad_user_data", False)
    assert "secre" not in str(caught.value)


def test_files_lie_beside_the_metadata_that_says_where_they_go() -> None:
    wanted = {
        "/etc/b": base64.b64encode(b"two").decode(),
        "a.txt": base64.b64encode(b"one").decode(),
    }
    found = files(replace(PLAN, files=wanted))
    for version in ("2018-08-27", "latest"):
        told = json.loads(found[f"openstack/{version}/meta_data.json"])["files"]
        put = {one["path"]: found[f"openstack{one['content_path']}"] for one in told}
        assert put == {"/etc/b": b"two", "a.txt": b"one"}
    assert "files" not in json.loads(files(PLAN)["openstack/latest/meta_data.json"])
    assert config_drive(replace(PLAN, files=wanted))
