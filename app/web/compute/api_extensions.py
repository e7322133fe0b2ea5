"""Extensions: the names by which old clients ask for parts of the API. Those that are here."""

from __future__ import annotations

from typing import Any

from flask import Response

from app.errors import NotFound
from app.web.answers import answer
from app.web.api import Route
from app.web.compute.versions import ns
from app.web.shapes import compute as shapes

_NAMES = {
    "NMN": ("Multinic", "Several networks of a server."),
    "OS-DCF": ("DiskConfig", "How a server's disk is partitioned."),
    "OS-EXT-AZ": ("ExtendedAvailabilityZone", "The availability zone of a server."),
    "OS-EXT-SRV-ATTR": ("ExtendedServerAttributes", "Where a server is, for administrators."),
    "OS-EXT-STS": ("ExtendedStatus", "The states of a server."),
    "OS-FLV-DISABLED": ("FlavorDisabled", "Whether a flavor is disabled."),
    "OS-FLV-EXT-DATA": ("FlavorExtraData", "The ephemeral disk of a flavor."),
    "OS-SCH-HNT": ("SchedulerHints", "Hints of a create to the scheduler."),
    "OS-SRV-USG": ("ServerUsage", "When a server was launched and terminated."),
    "os-aggregates": ("Aggregates", "Sets of hosts."),
    "os-availability-zone": ("AvailabilityZone", "Availability zones and the hosts in them."),
    "os-config-drive": ("ConfigDrive", "A disk that configures a server."),
    "os-console-output": ("ConsoleOutput", "What a server wrote to its console."),
    "os-consoles": ("Consoles", "Consoles of servers."),
    "os-flavor-access": ("FlavorAccess", "Who may use a flavor that is not public."),
    "os-flavor-extra-specs": ("FlavorExtraSpecs", "Further properties of flavors."),
    "os-flavor-manage": ("FlavorManage", "Making and removing flavors."),
    "os-flavor-rxtx": ("FlavorRxtx", "The network factor of a flavor."),
    "os-floating-ip-pools": ("FloatingIpPools", "Networks with floating addresses."),
    "os-floating-ips": ("FloatingIps", "Addresses that stand for servers."),
    "os-hosts": ("Hosts", "The machines of the cloud, by service."),
    "os-hypervisors": ("Hypervisors", "Hosts as machines."),
    "os-instance-actions": ("InstanceActions", "What was asked of a server."),
    "os-instance-usage-audit-log": ("OSInstanceUsageAuditLog", "What the usage audit did."),
    "os-keypairs": ("Keypairs", "Public keys that servers let in."),
    "os-lock-server": ("LockServer", "Locking servers against changes."),
    "os-migrations": ("Migrations", "Moves of servers between hosts."),
    "os-networks": ("Networks", "Networks by their names."),
    "os-pause-server": ("PauseServer", "Pausing servers."),
    "os-quota-class-sets": ("QuotaClasses", "Limits of projects without their own."),
    "os-quota-sets": ("Quotas", "Limits of projects."),
    "os-security-group-rules": ("SecurityGroupRules", "Rules of security groups."),
    "os-security-groups": ("SecurityGroups", "What may reach a server."),
    "os-server-diagnostics": ("ServerDiagnostics", "What a server does now."),
    "os-server-external-events": ("ServerExternalEvents", "What other services tell of servers."),
    "os-server-password": ("ServerPassword", "The password that a server made, encrypted."),
    "os-server-groups": ("ServerGroups", "Servers that are kept together or apart."),
    "os-services": ("Services", "The processes of the cloud."),
    "os-simple-tenant-usage": ("SimpleTenantUsage", "What projects used in a period."),
    "os-suspend-server": ("SuspendServer", "Suspending servers to disk."),
    "os-tenant-networks": ("TenantNetworks", "A project's networks by their names."),
    "os-used-limits": ("UsedLimits", "Use, among the limits."),
    "os-user-data": ("UserData", "Data for a server's first boot."),
}


def _shown(alias: str) -> dict[str, Any]:
    name, description = _NAMES[alias]
    return {
        "alias": alias,
        "name": name,
        "description": description,
        "namespace": f"urn:novella:extension:{alias}",
        "updated": "2014-12-03T00:00:00Z",
        "links": [],
    }


@ns.route("/v2.1/extensions")
class Extensions(Route):
    shows = {"get": shapes.EXTENSIONS}
    policy = {"get": "os_compute_api:extensions"}

    def get(self) -> Response:
        """List the parts of the API by their old names."""
        return answer({"extensions": [_shown(alias) for alias in sorted(_NAMES)]})


@ns.route("/v2.1/extensions/<alias>")
class Extension(Route):
    shows = {"get": shapes.ONE_EXTENSION}
    policy = {"get": "os_compute_api:extensions"}

    def get(self, alias: str) -> Response:
        """Show one part of the API."""
        if alias not in _NAMES:
            raise NotFound(f"There is no extension {alias}.")
        return answer({"extension": _shown(alias)})
