"""Our domains on one libvirtd: finding them, their mark, and single, repeatable steps on them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any, TypeVar

import libvirt

from app.domain.guest import SHUTDOWN, Guest
from app.errors import HostFault
from app.virt.libvirt import mark as marks
from app.virt.libvirt.abilities import abilities
from app.virt.libvirt.connection import CALL_SECONDS, Connection, Link
from app.virt.libvirt.domain_state import pause, press_power_button, resume, state_of, wake
from app.virt.libvirt.job import aborting
from app.virt.libvirt.mark import Mark
from app.virt.libvirt.names import domain_prefix
from app.virt.libvirt.orphans import end_orphans
from app.virt.libvirt.starting import create, give_up, settle

Domain = Any
"""A libvirt.virDomain."""

Result = TypeVar("Result")

SAVE_SECONDS = 270.0
"""How long saving a guest's memory may take: an in-place action has five minutes."""
_UNDEFINE = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | (
    libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
)


class Guests:
    """The domains of one cloud. Every method may be repeated: libvirtd may die in any of them."""

    def __init__(self, connection: Connection, cloud_id: str) -> None:
        self._connection = connection
        self._cloud_id = cloud_id

    def find(self, server_id: str) -> Guest | None:
        """Our guest of that server, or None."""
        mark_and_state = self._connection.run("find", self._reader(server_id), server_id)
        return _guest(*mark_and_state) if mark_and_state else None

    def get(self, server_id: str) -> Guest:
        """Our guest of that server. Raises HostFault "no_guest"."""
        if (guest := self.find(server_id)) is None:
            raise _absent(server_id)
        return guest

    def all(self) -> tuple[Guest, ...]:
        """All our guests, in any state; other domains are not even asked for their mark."""

        def read(link: Link) -> list[Guest]:
            prefix = domain_prefix(self._cloud_id)
            found = []
            for domain in link.listAllDomains(0):
                if not domain.name().startswith(prefix):
                    continue
                try:
                    mark, state = self._mark(domain), state_of(domain)
                except libvirt.libvirtError as error:
                    if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                        continue  # gone since the list was made
                    raise
                if mark is not None:
                    found.append(_guest(mark, state))
            return found

        return tuple(self._connection.run("list guests", read))

    def define(self, server_id: str, xml: str) -> None:
        """Define the domain anew. Raises HostFault "foreign_guest" if it is another's."""

        def define(link: Link) -> None:
            domain = _lookup(link, server_id)
            if domain is not None and self._mark(domain) is None:
                message = f"the domain with the id of server {server_id} is not ours"
                raise HostFault(message, code="foreign_guest")
            link.defineXML(xml)

        self._connection.run("define", define, server_id)

    def definition(self, server_id: str) -> str:
        """The guest's persistent definition, as `define` takes it."""
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
        return str(self._do("read", server_id, lambda domain: domain.XMLDesc(flags)))

    def start_paused(self, server_id: str) -> None:
        """Start a defined guest so that its CPUs stand still."""

        def start(domain: Domain) -> None:
            if not abilities(domain.connect()).starts_paused:
                create(domain, 0)
                domain.suspend()
            else:
                create(domain, libvirt.VIR_DOMAIN_START_PAUSED)

        self._do("start paused", server_id, start)

    def start(self, server_id: str) -> None:
        """Start a defined guest."""
        self._do("start", server_id, lambda domain: create(domain, 0))

    def resume(self, server_id: str) -> None:
        """Let a paused guest run."""
        self._do("resume", server_id, resume)

    def wake(self, server_id: str) -> None:
        """Let a guest run that put itself to sleep."""
        self._do("wake", server_id, wake)

    def pause(self, server_id: str) -> None:
        """Stop a guest's CPUs."""
        self._do("pause", server_id, pause)

    def save(self, server_id: str, cancel: Event) -> None:
        """Write a running guest's memory to disk, from where its next start reads it; it ends.

        Raises Cancelled; the guest runs on then.
        """

        def save(domain: Domain) -> None:
            if not domain.isActive():
                return
            with aborting(domain, cancel):
                domain.managedSave(0)

        self._do("save", server_id, save, SAVE_SECONDS)

    def is_saved(self, server_id: str) -> bool:
        """Whether the guest's next start goes on from saved memory."""
        saved = self._do("look", server_id, lambda domain: domain.hasManagedSaveImage(0))
        return bool(saved)

    def forget_saved(self, server_id: str) -> None:
        """Let the guest's next start be a boot."""

        def forget(domain: Domain) -> None:
            if domain.hasManagedSaveImage(0):
                domain.managedSaveRemove(0)

        self._do("forget memory", server_id, forget)

    def inject_nmi(self, server_id: str) -> None:
        """Interrupt the guest so that its kernel dumps, if it is set up to."""
        self._do("inject NMI", server_id, lambda domain: domain.injectNMI(0))

    def press_power_button(self, server_id: str) -> None:
        """Ask the guest to shut down, by its agent or ACPI; it may well ignore that."""
        self._do("shut down", server_id, press_power_button)

    def kill(self, server_id: str) -> None:
        """End the guest at once; no-op when it does not run."""

        def kill(domain: Domain) -> None:
            try:
                give_up(domain)
                if domain.isActive():
                    domain.destroyFlags(0)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN and domain.isActive():
                    raise

        self._do("force off", server_id, kill)

    def undefine(self, server_id: str) -> None:
        """Forget the guest; no-op when it is not there."""

        def undefine(link: Link) -> None:
            domain = _lookup(link, server_id)
            if domain is None or self._mark(domain) is None:
                return
            if not domain.isActive():
                end_orphans(domain.name())
            domain.undefineFlags(_UNDEFINE)

        self._connection.run("undefine", undefine, server_id)

    def set_mark(self, server_id: str, **changes: Any) -> None:
        """Change fields of the guest's mark, running and persistent."""

        def change(domain: Domain) -> None:
            old = self._mark(domain)
            if old is None or (new := replace(old, **changes)) == old:
                return
            flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG
            if domain.isActive():
                flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
            element = libvirt.VIR_DOMAIN_METADATA_ELEMENT
            domain.setMetadata(element, marks.text(new), marks.PREFIX, marks.NAMESPACE, flags)

        self._do("mark", server_id, change)

    def ended(self, server_id: str) -> int:
        """The fence of the request that has ended the guest to define it anew; 0 for none."""

        def read(domain: Domain) -> int:
            mark = self._mark(domain)
            return mark.ended if mark else 0

        return self._do("look", server_id, read)

    def networks(self, server_id: str) -> list[str]:
        """libvirt's names of the networks that the guest's definition names."""

        def read(domain: Domain) -> list[str]:
            root = ET.fromstring(domain.XMLDesc(0))
            sources = root.findall("devices/interface/source")
            return [name for source in sources if (name := source.get("network"))]

        return self._do("read", server_id, read)

    def state(self, server_id: str, cancel: Event | None = None) -> int:
        """Nova's power state; SHUTDOWN also when it is gone."""

        def read(link: Link) -> int:
            domain = _lookup(link, server_id)
            return SHUTDOWN if domain is None else state_of(domain)

        return self._connection.run("watch", read, server_id, cancel)

    def ask(self, step: str, server_id: str, operation: Callable[[Domain], Result]) -> Result:
        """What `operation` finds out of the guest's domain; it may be repeated."""
        return self._do(step, server_id, operation)

    def _do(
        self,
        step: str,
        server_id: str,
        operation: Callable[[Domain], Result],
        seconds: float = CALL_SECONDS,
    ) -> Result:
        return self._connection.run(
            step,
            lambda link: operation(self._domain(link, server_id)),
            server_id,
            seconds=seconds,
        )

    def _domain(self, link: Link, server_id: str) -> Domain:
        domain = _lookup(link, server_id)
        if domain is None or self._mark(domain) is None:
            raise _absent(server_id)
        return domain

    def _reader(self, server_id: str) -> Callable[[Link], tuple[Mark, int] | None]:
        def read(link: Link) -> tuple[Mark, int] | None:
            domain = _lookup(link, server_id)
            if domain is None or (mark := self._mark(domain)) is None:
                return None
            settle(domain)
            return mark, state_of(domain)

        return read

    def _mark(self, domain: Domain) -> Mark | None:
        """Our mark on a domain; None when it is another's."""
        try:
            text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, marks.NAMESPACE, 0)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
                return None
            raise
        mark = marks.parse(text)
        if mark is None or mark.cloud_id != self._cloud_id:
            return None
        return mark if mark.server_id == domain.UUIDString() else None


def _lookup(link: Link, server_id: str) -> Domain | None:
    try:
        return link.lookupByUUIDString(server_id)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _guest(mark: Mark, state: int) -> Guest:
    return Guest(mark.server_id, mark.fence, mark.committed, mark.applied, state, mark.rescue)


def _absent(server_id: str) -> HostFault:
    return HostFault(f"no guest of server {server_id} here", code="no_guest", retriable=False)
