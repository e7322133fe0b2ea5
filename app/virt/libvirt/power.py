"""Letting guests run and stop, as the driver contract says."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from threading import Event

from app.domain.guest import CRASHED, PAUSED, RUNNING, SHUTDOWN, SUSPENDED, Guest
from app.domain.message import BuildPlan
from app.errors import Cancelled, HostFault
from app.failpoints import Step
from app.virt.libvirt.build import Host, check_fence, sweep

logger = logging.getLogger(__name__)

BUTTON_SECONDS = 5.0
"""A booting guest does not hear the power button yet, so it is pressed again and again."""
POLL_SECONDS = 0.2
COMMIT, RUN = Step("commit.mark"), Step("commit.resume")
WAKE_NETWORKS, RUN_AGAIN = Step("commit.networks"), Step("commit.start")
APPLY, UNPAUSE, WAKE = Step("start.mark"), Step("start.unpause"), Step("start.wake")
SHUT_DOWN, FORCE, STOPPED = Step("stop.button"), Step("stop.force"), Step("stop.mark")
DEFINE, BOOT = Step("boot.define"), Step("boot.start")
RESTORE = Step("start.restore")


def commit(host: Host, server_id: str, fence: int) -> Guest:
    """See the contract."""
    guest = _committable(host, server_id)
    check_fence(guest, fence)
    try:
        with COMMIT:
            host.guests.set_mark(server_id, committed=True, applied=fence)
    except HostFault:
        _committable(host, server_id)  # says so when the guest ended just now
        raise
    if guest.power_state == PAUSED:
        with RUN:
            host.guests.resume(server_id)
    elif guest.power_state in (SHUTDOWN, CRASHED):
        with WAKE_NETWORKS:
            host.networks.wake(host.guests.networks(server_id), server_id)
            host.firewall.reassert()
        with RUN_AGAIN:
            host.guests.start(server_id)
    return host.guests.get(server_id)


def start(host: Host, plan: BuildPlan, fence: int, own_disk: bool = False) -> Guest:
    """See the contract."""
    guest = committed(host, plan.server_id, fence)
    if guest.power_state in (SHUTDOWN, CRASHED):
        if not host.guests.is_saved(plan.server_id):
            _boot(host, plan, guest, fence, own_disk)
            return host.guests.get(plan.server_id)
        host.attach(plan)
        with RESTORE:
            host.guests.start(plan.server_id)
        guest = host.guests.get(plan.server_id)  # it stands still if it did when it was saved
    with APPLY:
        host.guests.set_mark(plan.server_id, applied=fence)
    if guest.power_state == PAUSED:
        with UNPAUSE:
            host.guests.resume(plan.server_id)
    elif guest.power_state == SUSPENDED:
        with WAKE:
            host.guests.wake(plan.server_id)
    return host.guests.get(plan.server_id)


def stop(host: Host, server_id: str, fence: int, timeout: float, cancel: Event) -> Guest:
    """See the contract."""
    committed(host, server_id, fence)
    _end(host, server_id, timeout, cancel)
    with STOPPED:
        host.guests.set_mark(server_id, applied=fence)
    return host.guests.get(server_id)


def reboot(host: Host, plan: BuildPlan, fence: int, timeout: float, cancel: Event) -> Guest:
    """See the contract; soft for at most `timeout` seconds, hard at once when it is 0.

    Soft is Nova's: shut down, then start. A reboot by ACPI alone cannot be told from none.
    """
    guest = committed(host, plan.server_id, fence)
    if guest.applied == fence and guest.power_state == RUNNING:
        return guest
    if guest.power_state not in (SHUTDOWN, CRASHED):
        host.attach(plan)  # what may fail comes before the guest is ended
        _end(host, plan.server_id, timeout, cancel)
    _boot(host, plan, guest, fence, own_disk=True)
    return host.guests.get(plan.server_id)


def _boot(host: Host, plan: BuildPlan, guest: Guest, fence: int, own_disk: bool) -> None:
    """Define a committed, shut off guest from `plan` with `applied` = `fence`, and start it.

    With `own_disk` from its own disk, even if it was rescued.
    """
    rescued = guest.rescue > 0
    define(host, plan, replace(guest, rescue=0) if own_disk else guest, fence)
    with BOOT:
        host.guests.start(plan.server_id)
    if rescued and own_disk:
        sweep(host, plan.server_id, ("rescue",), 0)


def define(host: Host, plan: BuildPlan, guest: Guest, fence: int) -> None:
    """Define a committed, shut off guest anew, to boot: what was saved of its memory goes.

    Raises HostFault "no_disk".
    """
    disk = host.storage.disk(plan.server_id, guest.fence)
    if not disk.exists():
        message = f"the disk of server {plan.server_id} is not on this host any more"
        raise HostFault(message, code="no_disk", retriable=False)
    attached = host.attach(plan)
    mark = host.mark(guest, applied=fence)
    with DEFINE:
        host.guests.forget_saved(plan.server_id)
        host.guests.define(plan.server_id, host.definition(plan, mark, attached))


def _end(host: Host, server_id: str, timeout: float, cancel: Event) -> None:
    """Have the guest shut down, or end it when it does not within `timeout` s; at once when 0."""
    if timeout:
        with SHUT_DOWN:
            obeyed = _shut_down(host, server_id, timeout, cancel)
        if obeyed:
            return
        logger.info("server %s did not shut down, forcing it off", server_id)
    with FORCE:
        host.guests.kill(server_id)


def _shut_down(host: Host, server_id: str, timeout: float, cancel: Event) -> bool:
    """Press the power button until the guest is off; False after `timeout` seconds.

    A paused guest hears no button: False at once.
    """
    deadline = time.monotonic() + timeout
    press_at = 0.0
    while (state := host.guests.state(server_id, cancel)) not in (SHUTDOWN, CRASHED):
        now = time.monotonic()
        if cancel.is_set():
            raise Cancelled(f"shutdown of server {server_id} cancelled")
        if state == PAUSED or now >= deadline:
            return False
        if now >= press_at:
            host.guests.press_power_button(server_id)
            press_at = now + BUTTON_SECONDS
        cancel.wait(POLL_SECONDS)
    return True


def _committable(host: Host, server_id: str) -> Guest:
    guest = host.guests.find(server_id)
    if guest is None or (guest.power_state in (SHUTDOWN, CRASHED) and not guest.committed):
        message = f"server {server_id} has no guest here that could be committed"
        raise HostFault(message, code="not_committed")
    return guest


def committed(host: Host, server_id: str, fence: int) -> Guest:
    """The server's guest, if it is committed and no newer request has reached it.

    Raises HostFault "no_guest", "not_committed" or "newer_fence".
    """
    guest = host.guests.get(server_id)
    if not guest.committed:
        message = f"the guest of server {server_id} is not committed"
        raise HostFault(message, code="not_committed")
    check_fence(guest, fence)
    return guest
