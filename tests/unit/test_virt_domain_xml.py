"""The domains and networks that we define, against golden files.

Renew them with `NOVELLA_RENEW_GOLDEN=1 python -m pytest tests/unit/test_virt_domain_xml.py`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.message import BuildPlan, Nic
from app.domain.resources import Resources
from app.virt.libvirt import mark as marks
from app.virt.libvirt.domain_xml import Place, domain_xml
from app.virt.libvirt.mark import Mark
from app.virt.libvirt.names import bridge_name, dhcp_name, domain_name, network_name, server_of
from app.virt.libvirt.network_xml import Entry, entries, network_xml, owner

GOLDEN = Path(__file__).parent / "golden"
CLOUD = "c10d0000-0000-4000-8000-000000000001"
SERVER = "5e7e0000-0000-4000-8000-000000000002"
NETWORK = "4e700000-0000-4000-8000-000000000003"
NIC = Nic(
    port_id="90700000-0000-4000-8000-000000000004",
    mac="fa:16:3e:00:00:01",
    address="10.9.0.7",
    network_id=NETWORK,
    network_name="default",
    cidr="10.9.0.0/24",
    gateway="10.9.0.1",
    dns=("192.0.2.53",),
    mtu=1442,
)
PLAN = BuildPlan(
    server_id=SERVER,
    project_id="project",
    user_id="user",
    fence=7,
    name='<Web> & "more"',
    hostname="web",
    flavor_name="m1.small",
    resources=Resources(2, 2048, 20),
    image=None,
    nics=(NIC,),
    availability_zone="nova",
)
FOLDER = Path("/var/lib/my clouds/instances") / SERVER


def golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("NOVELLA_RENEW_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("virt_type", ["qemu", "kvm", "test"])
def test_a_domain_is_as_agreed(virt_type: str):
    place = Place(
        virt_type=virt_type,
        disk=FOLDER / "disk-7.qcow2",
        config_drive=FOLDER / "config-7.iso",
        console_log=FOLDER / "console.log",
        networks={NETWORK: network_name(CLOUD, NETWORK)},
    )
    golden(f"domain-{virt_type}.xml", domain_xml(PLAN, Mark(CLOUD, SERVER, 7), place))


def test_a_rescued_domain_boots_from_the_rescue_disk_and_has_its_own_as_the_second():
    place = Place(
        virt_type="qemu",
        disk=FOLDER / "disk-7.qcow2",
        config_drive=FOLDER / "config-7.iso",
        console_log=FOLDER / "console.log",
        networks={NETWORK: network_name(CLOUD, NETWORK)},
        rescue=FOLDER / "rescue-9.qcow2",
    )
    mark = Mark(CLOUD, SERVER, 7, committed=True, applied=9, rescue=9)
    golden("domain-rescue.xml", domain_xml(PLAN, mark, place))


def test_a_nat_network_is_as_agreed():
    golden("network-nat.xml", network_xml(CLOUD, NIC))


def test_a_network_without_a_gateway_is_isolated():
    golden("network-isolated.xml", network_xml(CLOUD, replace(NIC, gateway=None, dns=())))


def test_a_network_knows_its_owner_and_its_own_entry_is_no_servers():
    xml = network_xml(CLOUD, NIC)
    assert owner(xml) == CLOUD
    assert owner("<network><name>default</name></network>") is None
    assert [server_of(entry.name) for entry in entries(xml)] == [None]


def test_a_mark_is_read_back_as_it_was_written():
    mark = Mark(CLOUD, SERVER, 7, committed=True, applied=9)
    assert marks.parse(marks.text(mark)) == mark
    rescued = replace(mark, rescue=9)
    assert marks.parse(marks.text(rescued)) == rescued
    assert marks.parse("<guest cloud='x'/>") is None
    assert marks.parse("nonsense") is None


def test_two_clouds_share_no_names():
    other = "c10d0001" + CLOUD[8:]
    assert domain_name(CLOUD, SERVER) != domain_name(other, SERVER)
    assert network_name(CLOUD, NETWORK) != network_name(other, NETWORK)
    assert bridge_name(CLOUD, NETWORK) != bridge_name(other, NETWORK)
    assert len(bridge_name(CLOUD, NETWORK)) <= 15


@pytest.mark.parametrize("hostname", ["web", "a-very-long-host-name-" * 3, "", "-"])
@pytest.mark.parametrize("index", [0, 1, 12])
def test_a_dhcp_name_is_a_dns_label_that_leads_back_to_its_server(hostname: str, index: int):
    name = dhcp_name(hostname, SERVER, index)
    assert server_of(name) == SERVER
    assert len(name) <= 63
    assert not name.startswith("-")


def test_entries_clash_in_any_part():
    one = Entry("fa:16:3e:00:00:01", "10.9.0.7", "a")
    assert one.clashes(Entry("FA:16:3E:00:00:01", "10.9.0.8", "b"))
    assert one.clashes(Entry("fa:16:3e:00:00:02", "10.9.0.7", "b"))
    assert not one.clashes(Entry("fa:16:3e:00:00:02", "10.9.0.8", "b"))
