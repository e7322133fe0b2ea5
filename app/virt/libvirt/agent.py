"""What is asked of a guest itself, through its agent."""

from __future__ import annotations

import libvirt
import libvirt_qemu

from app.domain.guest import Guest
from app.errors import HostFault
from app.failpoints import Step
from app.virt.libvirt import power
from app.virt.libvirt.abilities import abilities
from app.virt.libvirt.build import Host
from app.virt.libvirt.guest import Domain
from app.virt.libvirt.pausing import is_off, not_running

PING_SECONDS = 3
SET_PASSWORD, NMI = Step("password.set"), Step("crash_dump.nmi")
MARK_PASSWORD, MARK_NMI = Step("password.mark"), Step("crash_dump.mark")


def answers(host: Host, server_id: str) -> bool:
    """Whether the guest's agent answers within PING_SECONDS; libvirt's test driver pretends so."""

    def ping(domain: Domain) -> bool:
        if not domain.isActive():
            return False
        if not abilities(domain.connect()).runs_guests:
            return True
        try:
            libvirt_qemu.qemuAgentCommand(domain, '{"execute":"guest-ping"}', PING_SECONDS, 0)
        except libvirt.libvirtError as error:
            if error.get_error_code() in (
                libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
                libvirt.VIR_ERR_AGENT_UNSYNCED,
                libvirt.VIR_ERR_OPERATION_INVALID,
                libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
            ):
                return False
            raise
        return True

    return host.guests.ask("ask the agent", server_id, ping)


def set_password(host: Host, server_id: str, fence: int, user: str, password: str) -> Guest:
    """See the contract; what it sets twice is the same."""
    guest = power.committed(host, server_id, fence)
    if is_off(guest):
        raise not_running(guest)
    if not answers(host, server_id):
        message = f"no guest agent answers in server {server_id}"
        raise HostFault(message, code="no_agent", retriable=False)
    with SET_PASSWORD:
        host.guests.ask(
            "set a password", server_id, lambda domain: domain.setUserPassword(user, password, 0)
        )
    with MARK_PASSWORD:
        host.guests.set_mark(server_id, applied=fence)
    return host.guests.get(server_id)


def inject_nmi(host: Host, server_id: str, fence: int) -> Guest:
    """See the contract; a guest whose worker dies between the two steps may get it twice."""
    guest = power.committed(host, server_id, fence)
    if guest.applied == fence:
        return guest
    if is_off(guest):
        raise not_running(guest)
    with NMI:
        host.guests.inject_nmi(server_id)
    with MARK_NMI:
        host.guests.set_mark(server_id, applied=fence)
    return host.guests.get(server_id)
