"""The host's networking in force: filters of ports, rules of groups and routers, addresses.

All of it is one state, kept in `networking.json`, put into force as a whole. Whatever a reboot or
somebody else's firewall took away is there again at the next `reassert`.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from app.domain.message import BuildPlan
from app.domain.networking import Known, Networking, merged, networking, without, without_port
from app.errors import HostFault
from app.virt.libvirt import firewall_rules
from app.virt.libvirt.child import run
from app.virt.libvirt.connection import Connection
from app.virt.libvirt.filters import Filters, filter_name
from app.virt.libvirt.names import bridge_name
from app.virt.libvirt.stale_bridge import namespace

logger = logging.getLogger(__name__)
SECONDS = 20.0
_BRIDGED = "net.bridge.bridge-nf-call-iptables"


class Firewall:
    """One cloud's on one host; it `enforces` nothing under libvirt's test driver."""

    def __init__(
        self, connection: Connection, cloud_id: str, folder: Path, *, enforces: bool
    ) -> None:
        self._connection = connection
        self._cloud_id = cloud_id
        self._folder = folder
        self._enforces = enforces
        self._filters = Filters(connection, cloud_id)
        self._lock = threading.Lock()
        self._known, self._floating = self._read()

    @property
    def state(self) -> Networking:
        """What is in force."""
        return self._known.state

    def admit(self, plan: BuildPlan) -> dict[str, str]:
        """Guard the ports of `plan`; the names of libvirt's filters by port id.

        Raises HostFault when that cannot be done: a guest must not run unguarded.
        """
        part = plan.networking
        if part is None or not self._enforces:
            return {}
        self._change(lambda known: merged(known, part, build=True))
        ports = self.state.of(plan.server_id)
        return {port.id: filter_name(self._cloud_id, port.id) for port in ports if port.secured}

    def tell(self, state: Networking) -> None:
        """Put the whole state of the host into force. Raises HostFault."""
        self._change(lambda known: merged(known, state, build=False))

    def forget(self, server_id: str) -> None:
        """The server's guest is gone: its ports are no longer guarded. Raises HostFault."""
        if self.state.of(server_id):
            self._change(lambda known: without(known, server_id))

    def forget_port(self, port_id: str) -> None:
        """The port was plugged out. Raises HostFault."""
        if any(port.id == port_id for port in self.state.ports):
            self._change(lambda known: without_port(known, port_id))

    def reassert(self) -> None:
        """Put into force what is known, whatever has become of it. Raises HostFault."""
        with self._lock:
            if self._enforces and (self.state.ports or self._floating):
                self._enforce(self.state)

    def remove_all(self) -> None:
        """Leave nothing of this cloud's on the host; what is known stays known."""
        with self._lock:
            if self._enforces:
                self._enforce(Networking())
                self._filters.keep(())

    def _change(self, change: Callable[[Known], Known]) -> None:
        with self._lock:
            before, after = self._known, change(self._known)
            if after == before:
                return
            if self._enforces and after.state != before.state:
                self._enforce(after.state)
            self._known = after
            self._write()

    def _enforce(self, state: Networking) -> None:
        """Filters first: no port is reachable that may forge addresses."""
        self._filters.define(state.ports)
        try:
            inside = ["nsenter", f"--net={namespace(self._connection.uri)}", "--"]
        except OSError as error:
            raise HostFault(f"libvirtd is away: {error}", code="hypervisor_away") from error
        if state.ports:
            self._see_bridged(inside)
        self._load(inside, state)
        self._addresses(inside, state)
        self._filters.keep({port.id for port in state.ports if port.secured})

    def _load(self, inside: list[str], state: Networking) -> None:
        saved = {
            table: run([*inside, "iptables-save", "-t", table], SECONDS)
            for table in firewall_rules.HOOKS
        }
        wanted = firewall_rules.rules(self._cloud_id, state)
        text = firewall_rules.restore(wanted, saved, self._cloud_id)
        if not text.strip():
            return
        path = self._folder / "iptables.rules"
        path.write_text(text)
        run([*inside, "iptables-restore", "-w", "10", "--noflush", str(path)], SECONDS)

    def _see_bridged(self, inside: list[str]) -> None:
        """Have the kernel show iptables what passes between guests of one bridge."""
        try:
            if run([*inside, "sysctl", "-n", _BRIDGED], SECONDS).strip() != "1":
                run([*inside, "sysctl", "-q", "-w", f"{_BRIDGED}=1"], SECONDS)
        except HostFault:
            try:
                run(["modprobe", "br_netfilter"], SECONDS)
                run([*inside, "sysctl", "-q", "-w", f"{_BRIDGED}=1"], SECONDS)
            except HostFault as error:
                logger.warning(
                    "this kernel has no br_netfilter: guests of one bridge reach each other "
                    "whatever their security groups say (%s)", error.message
                )  # fmt: skip

    def _addresses(self, inside: list[str], state: Networking) -> None:
        """Floating addresses on the bridges of their guests, so that this host answers for them."""
        wanted = {(one.address, bridge_name(self._cloud_id, one.segment)) for one in state.floating}
        for address, bridge in sorted(self._floating - wanted):
            _try([*inside, "ip", "address", "delete", f"{address}/32", "dev", bridge])
        for address, bridge in sorted(wanted):
            _try([*inside, "ip", "address", "replace", f"{address}/32", "dev", bridge])
        if self._floating != wanted:
            self._floating = wanted
            self._write()

    @property
    def _path(self) -> Path:
        return self._folder / "networking.json"

    def _read(self) -> tuple[Known, set[tuple[str, str]]]:
        try:
            data = json.loads(self._path.read_text())
            known = Known(networking(data["state"]), data["at"], frozenset(data["built"]))
            return known, {(address, bridge) for address, bridge in data["floating"]}
        except FileNotFoundError:
            return Known(), set()
        except (ValueError, KeyError, TypeError) as error:
            # The next ring brings it anew: a session begins with one.
            logger.warning("%s cannot be read and is begun anew: %s", self._path, error)
            return Known(), set()

    def _write(self) -> None:
        data = {
            "state": asdict(self._known.state),
            "at": dict(self._known.at),
            "built": sorted(self._known.built),
            "floating": sorted(self._floating),
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.new")
        temporary.write_text(json.dumps(data))
        temporary.rename(self._path)


def _try(argv: list[str]) -> None:
    """A bridge may be gone, with its addresses, or not be there yet: it is asked for again."""
    try:
        run(argv, SECONDS)
    except HostFault as error:
        logger.info("%s", error.message)
