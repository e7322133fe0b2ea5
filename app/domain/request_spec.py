"""What the scheduler is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.resources import Resources

AFFINITY, ANTI_AFFINITY = "affinity", "anti-affinity"
SOFT_AFFINITY, SOFT_ANTI_AFFINITY = "soft-affinity", "soft-anti-affinity"


@dataclass(frozen=True)
class Group:
    """The server group that the request's servers belong to.

    `members` counts, by host name, the group's servers placed before; `max_server_per_host` is
    what anti-affinity allows of them on one host.
    """

    policy: str
    members: Mapping[str, int] = field(default_factory=dict)
    max_server_per_host: int = 1


@dataclass(frozen=True)
class RequestSpec:
    """One request's needs: each of its servers wants `resources` on an allowed host.

    `tried` names hosts that failed this request before; `forced_host` is an administrator's
    choice, which skips every filter but "is up" and "has room". `same_host` and
    `different_host` are the hosts of the servers that those hints name, None when not given.
    """

    resources: Resources
    zone: str | None = None
    forced_host: str | None = None
    tried: frozenset[str] = frozenset()
    project_id: str = ""
    flavor_name: str = ""
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    image_id: str | None = None
    image_properties: Mapping[str, Any] = field(default_factory=dict)
    group: Group | None = None
    same_host: frozenset[str] | None = None
    different_host: frozenset[str] | None = None
    near_address: str | None = None
    cidr: str = "/24"
    query: str | None = None
