"""Turning what Schemathesis makes up into requests that may succeed: living things instead of
made-up ids, and fewer of the options that nobody needs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from tools.fuzz.people import PASSWORD, PROJECT, throwaway
from tools.fuzz.things import KEY, Things

Json = dict[str, Any]
_GONE = (
    *("/compute/v2.1/images", "/compute/v2.1/os-networks", "/compute/v2.1/os-tenant-networks"),
    *("/compute/v2.1/os-floating-ip", "/compute/v2.1/os-security-group", "/compute/v2.1/os-hosts"),
    *("/compute/v2.1/os-hypervisors/{pattern}",),
)
"""What late microversions do not have."""


class Aim:
    """Words that are right where they stand; `dice` decides how often they are used."""

    def __init__(self, things: Things, document: Json, dice: random.Random) -> None:
        self.things, self.document, self.dice = things, document, dice

    def version(self, path: str, until: str | None) -> str:
        """A microversion in which the operation is likely to be."""
        if self.dice.random() < 0.1:
            return f"compute 2.{self.dice.randint(1, 104)}"
        if until:
            return f"compute {until}"
        return "compute 2.35" if path.startswith(_GONE) else "compute latest"

    def query(self, given: Mapping[str, Any], schemas: Mapping[str, Json]) -> Json:
        """Few of the parameters, mostly such whose values Schemathesis knows."""
        kept = {}
        for name, value in given.items():
            plain = schemas.get(name, {}).get("type") == "string"
            if self.dice.random() < (0.06 if plain else 0.3):
                kept[name] = value
        return kept

    def body(self, path: str, role: str, value: Any, schema: Json) -> Any:
        """The body with words in their places."""
        whole = self._whole(path, role)
        if whole is not None and self.dice.random() < 0.7:
            return whole
        return self._worded(self._pruned(value, schema), self._words(path, role))

    def _pruned(self, value: Any, schema: Json) -> Any:
        schema = self._resolved(schema)
        if isinstance(value, list):
            return [self._pruned(one, schema.get("items", {})) for one in value[:3]]
        if not isinstance(value, dict):
            return value
        known, needed = schema.get("properties", {}), schema.get("required", [])
        spared = max(0, int(schema.get("minProperties", 0)) - len(needed))
        made = {}
        for name, part in value.items():
            optional = name not in needed
            if optional and spared <= 0 and self.dice.random() < 0.75:
                continue
            spared -= optional
            made[name] = self._pruned(part, known.get(name, {}))
        return made

    def _resolved(self, schema: Json) -> Json:
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        for several in ("anyOf", "oneOf"):
            for part in schema.get(several, []):
                found = self._resolved(part)
                if "properties" in found or "items" in found:
                    return found
        return schema

    def _worded(self, value: Any, words: Mapping[str, Callable[[], Any]]) -> Any:
        if isinstance(value, list):
            return [self._worded(one, words) for one in value]
        if not isinstance(value, dict):
            return value
        return {
            name: words[name]()
            if name in words and self.dice.random() < 0.95
            else self._worded(part, words)
            for name, part in value.items()
        }

    def _words(self, path: str, role: str) -> dict[str, Callable[[], Any]]:
        things, servers = self.things, self.things.servers
        words: dict[str, Callable[[], Any]] = {
            "imageRef": lambda: servers.image, "flavorRef": lambda: "6",
            "key_name": lambda: things.values(path, ["name"], role, fresh=False)["name"],
            "min_count": lambda: 1, "max_count": lambda: self.dice.randint(1, 2),
            "availability_zone": lambda: "nova", "user_data": lambda: "eA==",
            "accessIPv4": lambda: "10.1.1.1", "accessIPv6": lambda: "fe80::1",
            "block_device_mapping_v2": list, "personality": list,
            "networks": lambda: [{"uuid": servers.network}], "security_groups": list,
            "trusted_image_certificates": lambda: None, "public_key": lambda: KEY,
            "tenant": lambda: things.people.project_id, "member": things.project,
            "host": lambda: things.spare,
            "hypervisor_hostname": lambda: "h1", "group": lambda: things.thing("group_id"),
            "server_uuid": servers.any, "domain_id": lambda: "default",
            "parent_id": lambda: "default", "project_id": lambda: things.people.project_id,
            "tenant_id": lambda: things.people.project_id, "cidr": things.cidr,
            "default_project_id": lambda: things.people.project_id,
            "network_id": lambda: things.thing("network_id"), "subnet_id": things.subnet,
            "security_group_id": lambda: things.thing("security_group_id"),
            "parent_group_id": lambda: things.thing("security_group_id"),
            "floating_network_id": lambda: things.external, "pool": lambda: "outside",
            "port_id": things.port, "gateway_ip": lambda: None, "ethertype": lambda: "IPv4",
            "protocol": lambda: "udp", "fixed_ips": list, "ip_version": lambda: 4,
            "same_host": list, "different_host": list, "visibility": lambda: "private",
        }  # fmt: skip
        if path.endswith("/action"):
            del words["host"]
        return words | ({"host": lambda: things.spare} if "aggregates" in path else {})

    def _whole(self, path: str, role: str) -> Any:
        """Bodies whose parts hang together."""
        if path == "/identity/v3/auth/tokens":
            domain = {"id": "default"}
            who = {"name": f"fuzz-{role}", "domain": domain, "password": PASSWORD}
            scope = {"project": {"name": PROJECT, "domain": domain}}
            methods = {"methods": ["password"], "password": {"user": who}}
            return {"auth": {"identity": methods, "scope": scope}}
        if path == "/identity/v3/users/{user_id}/password":
            return {"user": {"original_password": "old-password", "password": "old-password"}}
        if path == "/image/v2/images/{image_id}/import":
            return {"method": {"name": "glance-direct"}}
        if path == "/image/v2/images/{image_id}":
            return [{"op": "replace", "path": "/name", "value": "made-up"}]
        if path.endswith("_router_interface"):
            return {"subnet_id": self.things.subnet()}
        if path.endswith("/os-interface"):
            return {"interfaceAttachment": {"net_id": self.things.servers.network}}
        if path.endswith("/metadata/{key}"):
            return {"meta" if "image" not in path else "meta": {"color": "blue"}}
        if path.endswith("/os-extra_specs/{key}"):
            return {"color": "blue"}
        return None

    def subject(self) -> str:
        """A token to be looked into or given back."""
        return throwaway(self.things.admin.root)

    def action(self, name: str, server: str) -> Any:
        """The body of an action about something else, that is as the action wants it; or None."""
        admin, path = self.things.admin, f"/compute/v2.1/servers/{server}/action"
        if name in ("addSecurityGroup", "removeSecurityGroup"):
            group = self.things.security_group()
            if name == "removeSecurityGroup":
                admin.must("POST", path, json={"addSecurityGroup": {"name": group}})
            return {name: {"name": group}}
        if name in ("addFloatingIp", "removeFloatingIp"):
            found = admin.must(
                "GET", f"/network/v2.0/floatingips/{self.things.floatingip()}"
            ).json()
            address = found["floatingip"]["floating_ip_address"]
            if name == "removeFloatingIp":
                headers = {"OpenStack-API-Version": "compute 2.43"}
                sent = {"addFloatingIp": {"address": address}}
                admin.ask("POST", path, json=sent, headers=headers)
            return {name: {"address": address}}
        return None
