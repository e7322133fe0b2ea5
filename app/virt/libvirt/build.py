"""Making a guest and removing it, as the driver contract says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

from app.domain.guest import Guest
from app.domain.message import BuildPlan
from app.errors import Cancelled, HostFault, NovellaError
from app.failpoints import Step
from app.images.host_cache import HostCache
from app.virt.driver import Report
from app.virt.libvirt.domain_xml import Place, domain_xml
from app.virt.libvirt.firewall import Firewall
from app.virt.libvirt.guest import Guests
from app.virt.libvirt.mark import Mark
from app.virt.libvirt.network import Networks
from app.virt.libvirt.storage import BaseImage, Storage

logger = logging.getLogger(__name__)

DOWNLOAD_SHARE = 70
"""Percent of a build's progress that the image's download is."""
IMAGE, DEFINE, START = Step("spawn.image"), Step("spawn.define"), Step("spawn.start")
KILL, UNDEFINE = Step("destroy.kill"), Step("destroy.undefine")
RELEASE, FILES = Step("destroy.dhcp"), Step("destroy.files")


@dataclass(frozen=True)
class Attached:
    """libvirt's names of networks by bridge, and of filters by port id."""

    networks: dict[str, str]
    filters: dict[str, str]


@dataclass(frozen=True)
class Host:
    """One hypervisor's parts, as the builder and the power switch use them."""

    cloud_id: str
    virt_type: str
    guests: Guests
    networks: Networks
    storage: Storage
    cache: HostCache
    firewall: Firewall

    def attach(self, plan: BuildPlan) -> Attached:
        """Have the plan's networks run and its ports guarded; idempotent."""
        return Attached(self.networks.attach(plan), self.firewall.admit(plan))

    def definition(self, plan: BuildPlan, mark: Mark, attached: Attached) -> str:
        """The domain XML of `plan` over the files built at the mark's fence."""
        place = Place(
            virt_type=self.virt_type,
            disk=self.storage.disk(plan.server_id, mark.fence),
            config_drive=self.storage.config_drive(plan.server_id, mark.fence),
            console_log=self.storage.console_log(plan.server_id),
            networks=attached.networks,
            filters=attached.filters,
            rescue=self.storage.rescue(plan.server_id, mark.rescue) if mark.rescue else None,
        )
        return domain_xml(plan, mark, place)

    def mark(self, guest: Guest, **changes: Any) -> Mark:
        """The guest's mark with some of its fields changed."""
        mark = Mark(
            self.cloud_id,
            guest.server_id,
            guest.fence,
            guest.committed,
            guest.applied,
            guest.rescue,
        )
        return replace(mark, **changes)


def spawn(host: Host, plan: BuildPlan, cancel: Event, report: Report) -> Guest:
    """See the contract: build the guest, leave it paused; leave nothing behind on failure."""
    if (kept := _keep_or_remove(host, plan)) is not None:
        return kept
    # The image is held until the guest runs on it: nobody evicts it in between.
    with base_image(host, plan, cancel, report) as base, ExitStack() as undo:
        undo.callback(_clear, host, plan.server_id, plan.fence)
        report(DOWNLOAD_SHARE, "making disks")
        check_cancel(cancel, plan.server_id)
        host.storage.create(plan, base, cancel)
        report(80, "attaching networks")
        check_cancel(cancel, plan.server_id)
        attached = host.attach(plan)
        report(90, "starting the guest, paused")
        check_cancel(cancel, plan.server_id)
        mark = Mark(host.cloud_id, plan.server_id, plan.fence)
        with DEFINE:
            host.guests.define(plan.server_id, host.definition(plan, mark, attached))
        with START:
            host.guests.start_paused(plan.server_id)
        check_cancel(cancel, plan.server_id)
        guest = host.guests.get(plan.server_id)
        undo.pop_all()
    report(100, "built, paused")
    return guest


def destroy(host: Host, server_id: str, fence: int) -> None:
    """See the contract."""
    guest = host.guests.find(server_id)
    if guest is not None:
        check_fence(guest, fence)
    host.storage.check_fence(server_id, fence)
    if guest is not None:
        with KILL:
            host.guests.kill(server_id)
        with UNDEFINE:
            host.guests.undefine(server_id)
    with RELEASE:
        host.networks.release(server_id)
        host.firewall.forget(server_id)
    with FILES:
        host.storage.remove(server_id, fence)


def check_fence(guest: Guest, fence: int) -> None:
    """Refuse to touch a guest that a newer request has reached: HostFault "newer_fence"."""
    known = max(guest.fence, guest.applied)
    if known > fence:
        message = f"server {guest.server_id} is at fence {known} here, not {fence}"
        raise HostFault(message, code="newer_fence", retriable=False)


def _keep_or_remove(host: Host, plan: BuildPlan) -> Guest | None:
    """What the contract says about a guest, or leftovers, that are here before the build."""
    guest = host.guests.find(plan.server_id)
    if guest is not None:
        if guest.fence == plan.fence and (guest.committed or guest.paused):
            return guest
        if guest.committed:
            message = f"there is an old copy of server {plan.server_id} on this host"
            raise HostFault(message, code="old_copy")
    destroy(host, plan.server_id, plan.fence)
    return None


@contextmanager
def base_image(
    host: Host, plan: BuildPlan, cancel: Event, report: Report
) -> Iterator[BaseImage | None]:
    """The plan's image in the host's cache, held there during the block."""
    if plan.image is None:
        yield None
        return

    def downloading(percent: int, message: str) -> None:
        report(percent * DOWNLOAD_SHARE // 100, message)

    with ExitStack() as held:
        with IMAGE:
            path = held.enter_context(host.cache.lease(plan.image, cancel, downloading))
        yield BaseImage(path, plan.image.disk_format)


def check_cancel(cancel: Event, server_id: str) -> None:
    """Raise Cancelled when `cancel` is set."""
    if cancel.is_set():
        raise Cancelled(f"work on server {server_id} cancelled")


def sweep(host: Host, server_id: str, kinds: tuple[str, ...], fence: int) -> None:
    """Remove what a finished operation left of other fences; what stays goes with the next one."""
    try:
        host.storage.keep_only(server_id, kinds, fence)
    except HostFault as error:
        logger.warning("left old files of server %s behind: %s", server_id, error.message)


def _clear(host: Host, server_id: str, fence: int) -> None:
    """Undo. What cannot be removed now shows in the inventory, and a later destroy gets it."""
    try:
        destroy(host, server_id, fence)
    except NovellaError as error:
        logger.warning("left something of server %s behind: %s", server_id, error.message)
