"""Living things for the parameters of paths: made when needed, and again when they are gone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from tools.fuzz.people import People
from tools.fuzz.servers import Servers
from tools.fuzz.wire import LATEST, Wire

Json = dict[str, Any]
OCTETS = {"Content-Type": "application/octet-stream"}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl fuzz"
_FIXED = {
    "alias": "quotas", "domain_id": "default", "region_id": "RegionOne", "endpoint_id": "compute",
    "class_name": "default", "before": "2026-01-02 03:04:05", "pattern": "h",
    "agent_id": "00000000-0000-0000-0000-000000000001", "migration_id": "1", "network": "default",
    "volume_id": "00000000-0000-0000-0000-000000000001", "tag": "red", "key": "color",
}  # fmt: skip


class Things:
    """What the fuzzer's paths name. `spare` is a host that nothing runs on."""

    def __init__(self, people: People, spare: str) -> None:
        self.people, self.spare = people, spare
        self.admin: Wire = people.wires["admin"]
        self._kept: dict[str, str] = {}
        self._count = 0
        self.external = self._external()
        self.servers = Servers(self.admin, self.image(), self._default_network())

    def values(self, path: str, names: list[str], role: str, *, fresh: bool) -> dict[str, str]:
        """A value for each name in the path; `fresh`: of things that may be used up."""
        if fresh:
            self.forget(path)
        found = {name: self._value(path, name, role) for name in names}
        if "port_id" in found and "server_id" in found:
            found["port_id"] = self._port_of(found["server_id"])
        if "member_id" in found:
            found["member_id"] = self._member_of(found["image_id"])
        return found

    def forget(self, path: str) -> None:
        """Make what the path names anew when it is next asked for."""
        for name in re.findall(r"{(\w+)}", path):
            for kind in [kind for kind in self._kept if kind.split("/")[0] == name]:
                del self._kept[kind]

    def _value(self, path: str, name: str, role: str) -> str:
        fixed = {
            "host_name": self.spare,
            "task_id": self.servers.task_id,
            "request_id": self.servers.request_id,
            **_FIXED,
        }
        if name == "service_id" and path.startswith("/identity"):
            return "compute"
        if name == "server_id":
            return self.kept("server_id", self.servers.any)
        if name == "image_id" and path.endswith(("/file", "/stage", "/import")):
            return self._image_for(path)
        if name == "user_id" and "application_credentials" in path:
            return self.people.users[role]
        if name in ("name", "credential_id"):
            return self.kept(f"{name}/{role}", lambda: self._own(name, role))
        if name in fixed:
            return fixed[name]
        if not hasattr(self, name.removesuffix("_id")):
            return "made-up"  # of a route that nobody has told of here
        return self.kept(name, lambda: str(getattr(self, name.removesuffix("_id"))()))

    def kept(self, kind: str, make: Callable[[], str]) -> str:
        """The present thing of the kind, made if there is none."""
        if kind not in self._kept:
            self._kept[kind] = make()
        return self._kept[kind]

    def thing(self, kind: str) -> str:
        """A thing by the name of its id."""
        return self.kept(kind, lambda: str(getattr(self, kind.removesuffix("_id"))()))

    def fresh_name(self) -> str:
        """A name that nothing has yet."""
        self._count += 1
        return f"fuzz-{time.time_ns():x}-{self._count}"

    def cidr(self) -> str:
        """A subnet's addresses that no other has."""
        self._count += 1
        return f"10.{100 + self._count // 250 % 100}.{self._count % 250}.0/24"

    # One of each kind, by the names of path parameters.

    def flavor(self) -> str:
        about = {"name": self.fresh_name(), "ram": 192, "vcpus": 1, "disk": 1}
        about["os-flavor-access:is_public"] = False
        made = self.admin.made("/compute/v2.1/flavors", "flavor", about)["id"]
        path = f"/compute/v2.1/flavors/{made}"
        self.admin.must("POST", f"{path}/os-extra_specs", json={"extra_specs": {"color": "red"}})
        access = {"addTenantAccess": {"tenant": self.people.project_id}}
        self.admin.must("POST", f"{path}/action", json=access)
        return str(made)

    def image(self) -> str:
        made = self._queued()
        self.admin.must("PUT", f"/image/v2/images/{made}/file", data=b"x" * 4096, headers=OCTETS)
        return made

    def _queued(self) -> str:
        about = {"name": self.fresh_name(), "disk_format": "raw", "container_format": "bare"}
        sent = {**about, "color": "red", "tags": ["red"]}
        return str(self.admin.must("POST", "/image/v2/images", json=sent).json()["id"])

    def _image_for(self, path: str) -> str:
        made = self._queued()
        if path.endswith("/import"):
            self.admin.must(
                "PUT", f"/image/v2/images/{made}/stage", data=b"x" * 512, headers=OCTETS
            )
        return made

    def network(self) -> str:
        return self._net("networks", "network", {"name": self.fresh_name()})

    def subnet(self) -> str:
        about = {"network_id": self.network(), "ip_version": 4, "cidr": self.cidr()}
        return self._net("subnets", "subnet", about)

    def port(self) -> str:
        return self._net("ports", "port", {"network_id": self._default_network()})

    def security_group(self) -> str:
        return self._net("security-groups", "security_group", {"name": self.fresh_name()})

    def security_group_rule(self) -> str:
        about = {"security_group_id": self.security_group(), "direction": "ingress"}
        return self._net("security-group-rules", "security_group_rule", about)

    def router(self) -> str:
        return self._net("routers", "router", {"name": self.fresh_name()})

    def floatingip(self) -> str:
        return self._net("floatingips", "floatingip", {"floating_network_id": self.external})

    def group(self) -> str:
        about = {"name": self.fresh_name(), "policy": "affinity"}
        return str(self.admin.made("/compute/v2.1/os-server-groups", "server_group", about)["id"])

    def aggregate(self) -> str:
        about = {"name": self.fresh_name()}
        return str(self.admin.made("/compute/v2.1/os-aggregates", "aggregate", about)["id"])

    def hypervisor(self) -> str:
        listed = self.admin.must("GET", "/compute/v2.1/os-hypervisors").json()["hypervisors"]
        return str(listed[0]["id"])

    def service(self) -> str:
        """The spare host's compute service."""
        listed = self.admin.must("GET", "/compute/v2.1/os-services").json()["services"]
        mine = (str(one["id"]) for one in listed if one["host"] == self.spare)
        return next(mine, "deleted")  # one of the requests before may have forgotten the host

    def project(self) -> str:
        return str(self.admin.made("/identity/v3/projects", "project", self._named())["id"])

    def user(self) -> str:
        about = {**self._named(), "password": "old-password"}
        return str(self.admin.made("/identity/v3/users", "user", about)["id"])

    def role(self) -> str:
        return str(self.admin.made("/identity/v3/roles", "role", self._named())["id"])

    def _named(self) -> Json:
        return {"name": self.fresh_name()}

    def _own(self, name: str, role: str) -> str:
        """A key or an application credential of the role's user."""
        wire, given = self.people.wires[role], self.fresh_name()
        if name == "name":
            about: Json = {"name": given, "public_key": KEY}
            headers = {"OpenStack-API-Version": LATEST}
            answer = wire.ask(
                "POST", "/compute/v2.1/os-keypairs", json={"keypair": about}, headers=headers
            )
            return given if answer.status_code < 300 else "none"
        path = f"/identity/v3/users/{self.people.users[role]}/application_credentials"
        return str(wire.made(path, "application_credential", {"name": given})["id"])

    def _net(self, kind: str, noun: str, about: Json) -> str:
        return str(self.admin.made(f"/network/v2.0/{kind}", noun, about)["id"])

    def _default_network(self) -> str:
        listed = self.admin.must("GET", "/network/v2.0/networks?name=default").json()["networks"]
        return str(listed[0]["id"])

    def _external(self) -> str:
        made = self._net("networks", "network", {"name": "outside", "router:external": True})
        about = {"network_id": made, "ip_version": 4, "cidr": "198.51.0.0/16", "enable_dhcp": False}
        self._net("subnets", "subnet", about)
        return made

    def _member_of(self, image: str) -> str:
        """A project that the image is shared with."""
        member = self.project()
        self.admin.must("POST", f"/image/v2/images/{image}/members", json={"member": member})
        return member

    def _port_of(self, server: str) -> str:
        path = f"/compute/v2.1/servers/{server}/os-interface"
        answer = self.admin.found("GET", path)
        if answer is None:  # one of the requests before has deleted it meanwhile
            return self.port()
        ports = answer.json()["interfaceAttachments"]
        return str(ports[0]["port_id"]) if ports else self.port()
