"""NICs that come and go while a guest is there: in its definition, and in what runs."""

from __future__ import annotations

import logging
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from threading import Event

import libvirt

from app.domain.guest import Guest
from app.domain.message import BuildPlan, Nic
from app.errors import HostFault, NovellaError
from app.failpoints import Step
from app.virt.libvirt import power
from app.virt.libvirt.abilities import abilities
from app.virt.libvirt.build import Attached, Host, check_cancel
from app.virt.libvirt.domain_xml import interface
from app.virt.libvirt.guest import Domain

logger = logging.getLogger(__name__)

LET_GO_SECONDS = 60.0
ASK_AGAIN_SECONDS = 5.0
"""A guest that boots does not hear that it is to let a device go, so it is told again."""
POLL_SECONDS = 0.2
PLUG, MARK_PLUGGED = Step("attach.plug"), Step("attach.mark")
UNPLUG, WITHDRAW, MARK_UNPLUGGED = Step("detach.unplug"), Step("detach.dhcp"), Step("detach.mark")
_LIVE, _CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG


def attach(host: Host, plan: BuildPlan, fence: int, port_id: str) -> Guest:
    """See the contract."""
    guest = power.committed(host, plan.server_id, fence)
    nic = _nic(plan, port_id)
    with ExitStack() as undo:
        undo.callback(_take_back, host, plan, guest, nic)
        attached = host.attach(plan)
        with PLUG:
            _plug(host, plan, guest, nic, attached)
        with MARK_PLUGGED:
            host.guests.set_mark(plan.server_id, applied=fence)
        plugged = host.guests.get(plan.server_id)
        undo.pop_all()
    return plugged


def detach(host: Host, plan: BuildPlan, fence: int, port_id: str, cancel: Event) -> Guest:
    """See the contract. What the guest must do comes first: else nothing has changed."""
    guest = power.committed(host, plan.server_id, fence)
    nic = _nic(plan, port_id)
    with UNPLUG:
        _unplug(host, plan, guest, nic, cancel)
    with WITHDRAW:
        host.networks.withdraw(nic, plan.server_id)
        host.firewall.forget_port(nic.port_id)
    with MARK_UNPLUGGED:
        host.guests.set_mark(plan.server_id, applied=fence)
    return host.guests.get(plan.server_id)


def _plug(host: Host, plan: BuildPlan, guest: Guest, nic: Nic, attached: Attached) -> None:
    guard = attached.filters.get(nic.port_id)
    text = ET.tostring(interface(nic, attached.networks[nic.bridge], guard), encoding="unicode")

    def plug(domain: Domain) -> bool:
        if not abilities(domain.connect()).plugs_in:
            return False
        for flag in _places(domain):
            if not _has(domain, nic, flag):
                domain.attachDeviceFlags(text, flag)
        return True

    if not host.guests.ask("plug a NIC in", plan.server_id, plug):
        definition = host.definition(plan, host.mark(guest), attached)
        host.guests.define(plan.server_id, definition)


def _unplug(host: Host, plan: BuildPlan, guest: Guest, nic: Nic, cancel: Event) -> None:
    """Take it out of what runs, and then of the definition."""

    def ask(domain: Domain) -> bool | None:
        """Whether it is out; None when devices cannot be plugged here."""
        if not abilities(domain.connect()).plugs_in:
            return None
        if not domain.isActive() or not _has(domain, nic, _LIVE):
            return True
        with _already_asked():
            domain.detachDeviceFlags(_described(domain, nic, _LIVE), _LIVE)
        return not _has(domain, nic, _LIVE)

    out = host.guests.ask("plug a NIC out", plan.server_id, ask)
    deadline = time.monotonic() + LET_GO_SECONDS
    while out is False:
        check_cancel(cancel, plan.server_id)
        if time.monotonic() > deadline:
            message = (
                f"the guest of server {plan.server_id} did not let its NIC {nic.mac} go within "
                f"{LET_GO_SECONDS:.0f} s"
            )
            raise HostFault(message, code="not_let_go", retriable=False)
        out = _gone_soon(host, plan.server_id, nic, cancel) or host.guests.ask(
            "plug a NIC out", plan.server_id, ask
        )
    if out is None:
        rest = replace(plan, nics=tuple(one for one in plan.nics if one != nic))
        definition = host.definition(rest, host.mark(guest), host.attach(rest))
        host.guests.define(plan.server_id, definition)
        return

    def forget(domain: Domain) -> None:
        if _has(domain, nic, _CONFIG):
            domain.detachDeviceFlags(_described(domain, nic, _CONFIG), _CONFIG)

    host.guests.ask("forget a NIC", plan.server_id, forget)


def _gone_soon(host: Host, server_id: str, nic: Nic, cancel: Event) -> bool:
    deadline = time.monotonic() + ASK_AGAIN_SECONDS
    while time.monotonic() < deadline:
        if host.guests.ask(
            "look", server_id, lambda one: not one.isActive() or not _has(one, nic, _LIVE)
        ):
            return True
        if cancel.wait(POLL_SECONDS):
            return False
    return False


@contextmanager
def _already_asked() -> Iterator[None]:
    """libvirt refuses to ask a guest again while it has not let the device go."""
    try:
        yield
    except libvirt.libvirtError as error:
        if "already in the process of unplug" not in str(error):
            raise


def _take_back(host: Host, plan: BuildPlan, guest: Guest, nic: Nic) -> None:
    """Undo. HostFault "half_done" when it cannot be done: the NIC may be plugged in, so that its
    port and address must not be another's until a detach has been heard of."""
    try:
        _unplug(host, plan, guest, nic, Event())
        host.networks.withdraw(nic, plan.server_id)
        host.firewall.forget_port(nic.port_id)
    except NovellaError as error:
        message = f"a NIC of server {plan.server_id} could not be taken back: {error.message}"
        logger.warning(message)
        raise HostFault(message, code="half_done", retriable=False) from error


def _places(domain: Domain) -> tuple[int, ...]:
    return (_CONFIG, _LIVE) if domain.isActive() else (_CONFIG,)


def _has(domain: Domain, nic: Nic, place: int) -> bool:
    return _found(domain, nic, place) is not None


def _described(domain: Domain, nic: Nic, place: int) -> str:
    found = _found(domain, nic, place)
    return "" if found is None else ET.tostring(found, encoding="unicode")


def _found(domain: Domain, nic: Nic, place: int) -> ET.Element | None:
    flags = libvirt.VIR_DOMAIN_XML_INACTIVE if place == _CONFIG else 0
    for one in ET.fromstring(domain.XMLDesc(flags)).findall("devices/interface"):
        mac = one.find("mac")
        if mac is not None and mac.get("address", "").lower() == nic.mac.lower():
            return one
    return None


def _nic(plan: BuildPlan, port_id: str) -> Nic:
    for nic in plan.nics:
        if nic.port_id == port_id:
            return nic
    message = f"the plan of server {plan.server_id} has no port {port_id}"
    raise HostFault(message, code="bad_plan", retriable=False)
