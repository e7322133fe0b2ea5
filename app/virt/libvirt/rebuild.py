"""Booting a guest from something else than its disk: a new image, or a rescue image.

Each is done or not: until the guest runs with its new definition, a failure puts the old one back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event

from app.domain.guest import Guest
from app.domain.message import BuildPlan
from app.errors import HostFault, NovellaError
from app.failpoints import Step
from app.virt.driver import Report
from app.virt.libvirt import power
from app.virt.libvirt.build import DOWNLOAD_SHARE, Host, base_image, check_cancel
from app.virt.libvirt.mark import Mark
from app.virt.libvirt.pausing import is_off

logger = logging.getLogger(__name__)

KILL, DEFINE = Step("rebuild.kill"), Step("rebuild.define")
START, SWEEP = Step("rebuild.start"), Step("rebuild.sweep")
_ROOT, _RESCUE = ("disk", "config"), ("rescue",)


def rebuild(host: Host, plan: BuildPlan, stay_off: bool, cancel: Event, report: Report) -> Guest:
    """See the contract."""
    guest = _rebuildable(host, plan)
    if guest is None or guest.fence != plan.fence:
        mark = Mark(host.cloud_id, plan.server_id, plan.fence, committed=True, applied=plan.fence)
        with _new_disks(host, plan, cancel, report, _ROOT) as undo:
            _replace(host, plan, guest, mark, undo)
            if not stay_off:
                _start(host, plan)
            undo.pop_all()
    elif not stay_off:
        _go_on(host, plan)
    with SWEEP:
        host.storage.keep_only(plan.server_id, _ROOT, plan.fence)
        host.storage.keep_only(plan.server_id, _RESCUE, 0)
    report(100, "rebuilt")
    return host.guests.get(plan.server_id)


def rescue(host: Host, plan: BuildPlan, cancel: Event, report: Report) -> Guest:
    """See the contract."""
    guest = power.committed(host, plan.server_id, plan.fence)
    if guest.rescue == plan.fence:
        _go_on(host, plan)
        return host.guests.get(plan.server_id)
    mark = host.mark(guest, applied=plan.fence, rescue=plan.fence)
    with _new_disks(host, plan, cancel, report, _RESCUE) as undo:
        _replace(host, plan, guest, mark, undo)
        _start(host, plan)
        undo.pop_all()
    with SWEEP:
        host.storage.keep_only(plan.server_id, _RESCUE, plan.fence)
    report(100, "rescued")
    return host.guests.get(plan.server_id)


def unrescue(host: Host, plan: BuildPlan, fence: int) -> Guest:
    """See the contract."""
    guest = power.committed(host, plan.server_id, fence)
    if guest.applied != fence or guest.rescue:
        with ExitStack() as undo:
            mark = host.mark(guest, applied=fence, rescue=0)
            _replace(host, plan, guest, mark, undo)
            _start(host, plan)
            undo.pop_all()
    else:
        _go_on(host, plan)
    with SWEEP:
        host.storage.keep_only(plan.server_id, _RESCUE, 0)
    return host.guests.get(plan.server_id)


def _rebuildable(host: Host, plan: BuildPlan) -> Guest | None:
    """The committed guest of the server; None when it was lost, so that it can be made anew."""
    guest = host.guests.find(plan.server_id)
    if guest is None:
        host.storage.check_fence(plan.server_id, plan.fence)
        return None
    return power.committed(host, plan.server_id, plan.fence)


@contextmanager
def _new_disks(
    host: Host, plan: BuildPlan, cancel: Event, report: Report, kinds: tuple[str, ...]
) -> Iterator[ExitStack]:
    """New disks beside the old ones; they go when the block fails before it clears the stack."""
    with base_image(host, plan, cancel, report) as base, ExitStack() as undo:
        undo.callback(host.storage.discard, plan.server_id, kinds, plan.fence)
        report(DOWNLOAD_SHARE, "making disks")
        if kinds == _RESCUE:
            host.storage.create_rescue(plan, base, cancel)
        else:
            host.storage.create(plan, base, cancel)
        check_cancel(cancel, plan.server_id)
        report(80, "starting the guest from it")
        yield undo


def _replace(host: Host, plan: BuildPlan, guest: Guest | None, mark: Mark, undo: ExitStack) -> None:
    """End the guest and define it anew; `undo` puts it back as it was."""
    attached = host.attach(plan)  # what may fail comes before the guest is ended
    if guest is not None:
        undo.callback(_put_back, host, guest, host.guests.definition(plan.server_id))
        with KILL:
            host.guests.kill(plan.server_id)
            host.guests.forget_saved(plan.server_id)
    else:
        undo.callback(host.guests.undefine, plan.server_id)
    with DEFINE:
        host.guests.define(plan.server_id, host.definition(plan, mark, attached))


def _put_back(host: Host, guest: Guest, definition: str) -> None:
    try:
        host.guests.kill(guest.server_id)
        host.guests.define(guest.server_id, definition)
        if not is_off(guest):
            host.guests.start(guest.server_id)
    except NovellaError as error:
        logger.error("server %s could not be put back: %s", guest.server_id, error.message)


def _start(host: Host, plan: BuildPlan) -> None:
    with START:
        host.guests.start(plan.server_id)


def _go_on(host: Host, plan: BuildPlan) -> None:
    """Start what an interrupted try left defined. HostFault "half_done": what was, is gone."""
    try:
        host.attach(plan)
        _start(host, plan)
    except HostFault as fault:
        raise HostFault(fault.message, code="half_done", retriable=False) from fault
