"""The project that the fuzzer works in, with a user of each role."""

from __future__ import annotations

from dataclasses import dataclass

from tools.fuzz.wire import Wire, log_in

ROLES = ("admin", "manager", "member", "reader", "service")
PROJECT, PASSWORD = "fuzz", "fuzz-password"
_UNLIMITED = (
    *("instances", "cores", "ram", "key_pairs", "server_groups", "server_group_members"),
    *("metadata_items",),
)


@dataclass(frozen=True)
class People:
    """The project's id; by role, its user's id and a wire that bears its token."""

    project_id: str
    users: dict[str, str]
    wires: dict[str, Wire]


def people(root: str, admin_password: str) -> People:
    """Make the project and its users."""
    first = Wire(root, log_in(root, "admin", admin_password, "admin"))
    identity = "/identity/v3"
    project = first.made(f"{identity}/projects", "project", {"name": PROJECT})["id"]
    roles = {
        one["name"]: one["id"] for one in first.must("GET", f"{identity}/roles").json()["roles"]
    }
    users: dict[str, str] = {}
    for role in ROLES:
        about = {"name": f"fuzz-{role}", "password": PASSWORD}
        users[role] = first.made(f"{identity}/users", "user", about)["id"]
        grant = f"{identity}/projects/{project}/users/{users[role]}/roles/{roles[role]}"
        first.must("PUT", grant)
    limits = dict.fromkeys(_UNLIMITED, -1)
    path = f"/compute/v2.1/os-quota-sets/{project}"
    first.must("PUT", path, json={"quota_set": {**limits, "force": True}})
    limits = dict.fromkeys(_NETWORK, -1)
    first.must("PUT", f"/network/v2.0/quotas/{project}", json={"quota": limits})
    return People(project, users, {role: Wire(root, _token(root, role)) for role in ROLES})


_NETWORK = (
    *("network", "subnet", "port", "router", "floatingip"),
    *("security_group", "security_group_rule"),
)


def _token(root: str, role: str) -> str:
    return log_in(root, f"fuzz-{role}", PASSWORD, PROJECT)


def throwaway(root: str) -> str:
    """A token that may be given back."""
    return _token(root, "reader")
