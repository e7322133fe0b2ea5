"""Booting a guest from something else than its disk: a new image, or a rescue image.

Each is done or not: until the guest runs with its new definition, a failure puts the old one back.
Where that fails, too, old and new disks stay, and the fault is "half_done". A try whose worker died
when it had ended the old guest has left a mark: the next one knows by it that the guest ran.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Event

from app.domain.guest import Guest
from app.domain.message import BuildPlan
from app.errors import HostFault, NovellaError
from app.failpoints import Step
from app.virt.driver import Report
from app.virt.libvirt import power
from app.virt.libvirt.build import DOWNLOAD_SHARE, Host, base_image, check_cancel, sweep
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
        with (
            _old_one_back(host, guest, plan.fence),
            _new_disks(host, plan, cancel, report, _ROOT) as undo,
        ):
            _replace(host, plan, guest, mark, undo)
            if not stay_off:
                _start(host, plan)
            undo.pop_all()
    elif not stay_off:
        _go_on(host, plan)
    with SWEEP:
        sweep(host, plan.server_id, _ROOT, plan.fence)
        sweep(host, plan.server_id, _RESCUE, 0)
    report(100, "rebuilt")
    return _done(host, plan.server_id)


def rescue(host: Host, plan: BuildPlan, cancel: Event, report: Report) -> Guest:
    """See the contract."""
    guest = power.committed(host, plan.server_id, plan.fence)
    if guest.rescue == plan.fence:
        _go_on(host, plan)
        return _done(host, plan.server_id)
    mark = host.mark(guest, applied=plan.fence, rescue=plan.fence)
    with (
        _old_one_back(host, guest, plan.fence),
        _new_disks(host, plan, cancel, report, _RESCUE) as undo,
    ):
        _replace(host, plan, guest, mark, undo)
        _start(host, plan)
        undo.pop_all()
    with SWEEP:
        sweep(host, plan.server_id, _RESCUE, plan.fence)
    report(100, "rescued")
    return _done(host, plan.server_id)


def unrescue(host: Host, plan: BuildPlan, fence: int) -> Guest:
    """See the contract."""
    guest = power.committed(host, plan.server_id, fence)
    if guest.applied != fence or guest.rescue:
        with _old_one_back(host, guest, fence), ExitStack() as undo:
            mark = host.mark(guest, applied=fence, rescue=0)
            _replace(host, plan, guest, mark, undo)
            _start(host, plan)
            undo.pop_all()
    else:
        _go_on(host, plan)
    with SWEEP:
        sweep(host, plan.server_id, _RESCUE, 0)
    return _done(host, plan.server_id)


def _rebuildable(host: Host, plan: BuildPlan) -> Guest | None:
    """The committed guest of the server; None when it was lost, so that it can be made anew."""
    guest = host.guests.find(plan.server_id)
    if guest is None:
        host.storage.check_fence(plan.server_id, plan.fence)
        return None
    return power.committed(host, plan.server_id, plan.fence)


@contextmanager
def _old_one_back(host: Host, guest: Guest | None, fence: int) -> Iterator[None]:
    """A guest that an earlier try at `fence` ended runs again when this one fails before it has
    replaced it. HostFault "half_done" when that cannot be done."""
    try:
        yield
    except Exception as error:
        if guest is not None and getattr(error, "code", "") != "half_done":
            with _all_or_nothing(guest.server_id, ExitStack()):
                _revive(host, guest.server_id, fence)
        raise


def _revive(host: Host, server_id: str, fence: int) -> None:
    if not is_off(host.guests.get(server_id)) or host.guests.ended(server_id) != fence:
        return
    host.networks.wake(host.guests.networks(server_id), server_id)
    host.firewall.reassert()
    host.guests.start(server_id)


@contextmanager
def _new_disks(
    host: Host, plan: BuildPlan, cancel: Event, report: Report, kinds: tuple[str, ...]
) -> Iterator[ExitStack]:
    """New disks beside the old ones; they go when the block fails before it clears the stack.

    What the block pushes is undone before that, and keeps them by clearing the stack itself.
    """
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
        runs = not is_off(guest)
        ran = runs or host.guests.ended(plan.server_id) == mark.applied
        old = Old(guest, ran, host.guests.definition(plan.server_id))
        undo.callback(_put_back, host, old, undo)
        with KILL:
            if runs:
                host.guests.set_mark(plan.server_id, ended=mark.applied)
            host.guests.kill(plan.server_id)
            host.guests.forget_saved(plan.server_id)
    else:
        undo.callback(_take_away, host, plan.server_id, undo)
    with DEFINE:
        host.guests.define(plan.server_id, host.definition(plan, mark, attached))


@dataclass(frozen=True)
class Old:
    """A guest as it was: `ran`, before this try or one that was interrupted; its definition."""

    guest: Guest
    ran: bool
    definition: str


def _put_back(host: Host, old: Old, undo: ExitStack) -> None:
    """Undo. HostFault "half_done" when it cannot be done; what `undo` would do next is left then:
    the guest may boot from the new disk."""
    server_id = old.guest.server_id
    with _all_or_nothing(server_id, undo):
        host.guests.kill(server_id)
        host.guests.define(server_id, old.definition)
        if old.ran:
            host.guests.start(server_id)
        found = host.guests.get(server_id)
        if (found.fence, found.rescue) != (old.guest.fence, old.guest.rescue):
            # A start that libvirtd did not finish in time was finished after all.
            raise HostFault("its new definition runs", code="half_done", retriable=False)


def _take_away(host: Host, server_id: str, undo: ExitStack) -> None:
    """Undo where no guest was before; as `_put_back`."""
    with _all_or_nothing(server_id, undo):
        if host.guests.find(server_id) is not None:
            host.guests.kill(server_id)
            host.guests.undefine(server_id)


@contextmanager
def _all_or_nothing(server_id: str, undo: ExitStack) -> Iterator[None]:
    try:
        yield
    except NovellaError as error:
        undo.pop_all()
        message = f"the guest of server {server_id} could not be put back: {error.message}"
        logger.error(message)
        raise HostFault(message, code="half_done", retriable=False) from error


def _start(host: Host, plan: BuildPlan) -> None:
    with START:
        host.guests.start(plan.server_id)


def _go_on(host: Host, plan: BuildPlan) -> None:
    """Start what an interrupted try left defined. HostFault "half_done": what was, is gone."""
    with _too_late():
        host.attach(plan)
        _start(host, plan)


def _done(host: Host, server_id: str) -> Guest:
    """The guest with its new definition. HostFault "half_done": what was, is gone."""
    with _too_late():
        return host.guests.get(server_id)


@contextmanager
def _too_late() -> Iterator[None]:
    """Any other fault would say that the guest is what it was."""
    try:
        yield
    except HostFault as fault:
        raise HostFault(fault.message, code="half_done", retriable=False) from fault
