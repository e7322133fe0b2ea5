"""What a server's guest uses."""

from __future__ import annotations

import time
from typing import Any

from flask import Response

from app.domain.guest import PAUSED, Diagnostics
from app.models import Server
from app.store import server_listing
from app.store.database import reading
from app.tasks import host_reads
from app.web import context
from app.web.answers import answer
from app.web.api import Route
from app.web.compute.actions import host_to_ask
from app.web.compute.versions import ns
from app.web.shapes import in_servers as shapes

KIB_PER_MIB = 1024


@ns.route("/v2.1/servers/<server_id>/diagnostics")
class ServerDiagnostics(Route):
    shows = {"get": shapes.DIAGNOSTICS}
    policy = {"get": "os_compute_api:os-server-diagnostics"}
    answers = {"get": (200, 409)}

    def get(self, server_id: str) -> Response:
        """Show what a running server uses: counted by its hypervisor, read just now."""
        host = host_to_ask(server_id)
        with reading() as session:
            server = server_listing.get(session, context.caller(), server_id)
        found = host_reads.diagnostics(host, server_id)
        if context.version() < (2, 48):
            return answer(_libvirts(found))
        return answer(_standard(found, server))


def _libvirts(found: Diagnostics) -> dict[str, int]:
    """Nova's old form: libvirt's own counters, by device."""
    shown = {f"cpu{number}_time": spent for number, spent in enumerate(found.cpu_times)}
    for disk in found.disks:
        shown |= {
            f"{disk.name}_read_req": disk.read_requests,
            f"{disk.name}_read": disk.read_bytes,
            f"{disk.name}_write_req": disk.write_requests,
            f"{disk.name}_write": disk.write_bytes,
            f"{disk.name}_errors": disk.errors,
        }
    for nic in found.nics:
        counters = ("octets", "packets", "errors", "drop")
        shown |= {
            f"{nic.name}_{way}" + ("" if what == "octets" else f"_{what}"): getattr(
                nic, f"{way}_{what}"
            )
            for way in ("rx", "tx")
            for what in counters
        }
    return shown | {"memory": found.memory_mb * KIB_PER_MIB}


def _standard(found: Diagnostics, server: Server) -> dict[str, Any]:
    """The form from 2.48 on, the same for all hypervisors; rates are not measured here."""
    return {
        "state": "paused" if found.power_state == PAUSED else "running",
        "driver": found.driver,
        "hypervisor": found.hypervisor,
        "hypervisor_os": "linux",
        "uptime": max(0, int(time.time() - (server.launched_at or time.time()))),
        "config_drive": True,  # every guest has one here, asked for or not
        "num_cpus": len(found.cpu_times),
        "num_nics": len(found.nics),
        "num_disks": len(found.disks),
        "cpu_details": [
            {"id": number, "time": spent, "utilisation": None}
            for number, spent in enumerate(found.cpu_times)
        ],
        "nic_details": [
            {
                "mac_address": nic.mac,
                "rx_octets": nic.rx_octets,
                "rx_errors": nic.rx_errors,
                "rx_drop": nic.rx_drop,
                "rx_packets": nic.rx_packets,
                "rx_rate": None,
                "tx_octets": nic.tx_octets,
                "tx_errors": nic.tx_errors,
                "tx_drop": nic.tx_drop,
                "tx_packets": nic.tx_packets,
                "tx_rate": None,
            }
            for nic in found.nics
        ],
        "disk_details": [
            {
                "read_bytes": disk.read_bytes,
                "read_requests": disk.read_requests,
                "write_bytes": disk.write_bytes,
                "write_requests": disk.write_requests,
                "errors_count": disk.errors,
            }
            for disk in found.disks
        ],
        "memory_details": {"maximum": found.memory_mb, "used": found.memory_used_mb},
    }
