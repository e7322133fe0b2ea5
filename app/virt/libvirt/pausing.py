"""Guests that stand still: paused in memory, or saved to disk; and their way back."""

from __future__ import annotations

import logging
from threading import Event

from app.domain.guest import CRASHED, SHUTDOWN, Guest
from app.domain.message import BuildPlan
from app.errors import HostFault
from app.failpoints import Step
from app.virt.libvirt import power
from app.virt.libvirt.build import Host

logger = logging.getLogger(__name__)

MARK_PAUSED, PAUSE, PAUSE_AGAIN = Step("pause.mark"), Step("pause.stop"), Step("pause.start")
MARK_RUNNING, RUN = Step("unpause.mark"), Step("unpause.run")
MARK_SAVED, SAVE = Step("suspend.mark"), Step("suspend.save")


def pause(host: Host, plan: BuildPlan, fence: int, restart: bool) -> Guest:
    """See the contract."""
    guest = power.committed(host, plan.server_id, fence)
    if is_off(guest):
        if not restart:
            raise not_running(guest)
        _start_paused(host, plan, guest, fence)
    with MARK_PAUSED:
        host.guests.set_mark(plan.server_id, applied=fence)
    with PAUSE:
        host.guests.pause(plan.server_id)
    return host.guests.get(plan.server_id)


def unpause(host: Host, server_id: str, fence: int) -> Guest:
    """See the contract."""
    guest = power.committed(host, server_id, fence)
    if is_off(guest):
        raise not_running(guest)
    with MARK_RUNNING:
        host.guests.set_mark(server_id, applied=fence)
    with RUN:
        host.guests.resume(server_id)
    return host.guests.get(server_id)


def suspend(host: Host, server_id: str, fence: int, cancel: Event) -> Guest:
    """See the contract. What is saved bears the mark that the guest has then."""
    guest = power.committed(host, server_id, fence)
    if is_off(guest) and not host.guests.is_saved(server_id):
        raise not_running(guest)
    with MARK_SAVED:
        host.guests.set_mark(server_id, applied=fence)
    with SAVE:
        host.guests.save(server_id, cancel)
    return host.guests.get(server_id)


def wake(host: Host, plan: BuildPlan, fence: int) -> Guest:
    """See the contract."""
    guest = power.committed(host, plan.server_id, fence)
    if is_off(guest) and not host.guests.is_saved(plan.server_id):
        logger.warning("server %s has no saved memory any more: it boots", plan.server_id)
    return power.start(host, plan, fence, own_disk=True)


def _start_paused(host: Host, plan: BuildPlan, guest: Guest, fence: int) -> None:
    if not host.guests.is_saved(plan.server_id):
        power.define(host, plan, guest, fence)
    else:
        host.attach(plan)
    with PAUSE_AGAIN:
        host.guests.start_paused(plan.server_id)


def is_off(guest: Guest) -> bool:
    """Whether the guest does not run, not even paused."""
    return guest.power_state in (SHUTDOWN, CRASHED)


def not_running(guest: Guest) -> HostFault:
    """What is said of a guest that would have to run."""
    message = f"the guest of server {guest.server_id} is off"
    return HostFault(message, code="not_running", retriable=False)
