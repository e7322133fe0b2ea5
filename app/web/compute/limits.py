"""Limits: what the project may have, and has."""

from __future__ import annotations

from flask import Response, request

from app.store import quotas
from app.store.database import reading
from app.web import context
from app.web.answers import answer
from app.web.api import Route
from app.web.compute.ranges import known_parameters
from app.web.compute.versions import ns
from app.web.policy import require
from app.web.shapes import compute as shapes

_LIMITS = {
    "maxTotalInstances": "instances",
    "maxTotalCores": "cores",
    "maxTotalRAMSize": "ram",
    "maxTotalKeypairs": "key_pairs",
    "maxServerMeta": "metadata_items",
    "maxImageMeta": "metadata_items",
    "maxServerGroups": "server_groups",
    "maxServerGroupMembers": "server_group_members",
    "maxPersonality": "injected_files",
    "maxPersonalitySize": "injected_file_content_bytes",
}
_USES = {
    "totalInstancesUsed": "instances",
    "totalCoresUsed": "cores",
    "totalRAMUsed": "ram",
    "totalServerGroupsUsed": "server_groups",
}
# Neutron's in truth; Nova below 2.36 shows them, and some clients want them there.
_NETWORK = {
    "maxSecurityGroups": -1,
    "maxSecurityGroupRules": -1,
    "maxTotalFloatingIps": -1,
    "totalSecurityGroupsUsed": 0,
    "totalFloatingIpsUsed": 0,
}
_GONE = (
    ((2, 36), tuple(_NETWORK)),
    ((2, 39), ("maxImageMeta",)),
    ((2, 57), ("maxPersonality", "maxPersonalitySize")),
)
_LAST = {name: since for since, names in _GONE for name in names}
"""From which version on a name is not there."""


@ns.route("/v2.1/limits")
class Limits(Route):
    shows = {"get": shapes.limits([*_LIMITS, *_USES, *_NETWORK], _LAST)}
    policy = {"get": "os_compute_api:limits"}
    asks = {"get": ("os_compute_api:limits:other_project",)}

    @ns.doc(
        params={
            "tenant_id": "for administrators: this project's",
            "reserved": "nothing is reserved: use is counted when a server is accepted",
        }
    )
    def get(self) -> Response:
        """Show the project's limits and what it uses of them."""
        known_parameters("tenant_id", "reserved")
        caller = context.caller()
        project = request.args.get("tenant_id") or caller.project_id
        if project != caller.project_id:
            require("os_compute_api:limits:other_project")
        with reading() as session:
            limits, used = quotas.limits(session, project), quotas.usage(session, project)
        absolute = {name: limits[resource] for name, resource in _LIMITS.items()}
        absolute |= {name: used.get(resource, 0) for name, resource in _USES.items()}
        absolute |= _NETWORK
        gone = {name for since, names in _GONE if context.version() >= since for name in names}
        shown = {name: value for name, value in absolute.items() if name not in gone}
        return answer({"limits": {"rate": [], "absolute": shown}})
