"""What a list of servers may be narrowed to, and in which orders it comes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from app.models import Host, Port, Server
from app.store import server_tags
from app.store.paging import Key, Page

_KEYS: dict[str, InstrumentedAttribute[Any]] = {
    "access_ip_v4": Server.access_ipv4,
    "access_ip_v6": Server.access_ipv6,
    "auto_disk_config": Server.disk_config,
    "availability_zone": Server.availability_zone,
    "config_drive": Server.config_drive,
    "created_at": Server.created_at,
    "display_description": Server.description,
    "display_name": Server.name,
    "host": Server.host,
    "hostname": Server.hostname,
    "image_ref": Server.image_id,
    "instance_type_id": Server.flavor_id,
    "key_name": Server.key_name,
    "launch_index": Server.launch_index,
    "launched_at": Server.launched_at,
    "locked": Server.locked,
    "locked_by": Server.locked,
    "power_state": Server.power_state,
    "project_id": Server.project_id,
    "task_state": Server.task_state,
    "terminated_at": Server.terminated_at,
    "updated_at": Server.updated_at,
    "user_id": Server.user_id,
    "uuid": Server.id,
    "vm_state": Server.vm_state,
}
SORT_KEYS = tuple(_KEYS)
States = tuple[tuple[str, frozenset[str] | None], ...]


@dataclass(frozen=True)
class TagQuery:
    """Tags that servers must carry all of, or one of; may not carry all of, or any of."""

    every: tuple[str, ...] = ()
    some: tuple[str, ...] = ()
    not_every: tuple[str, ...] = ()
    none: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServerQuery:
    """`states` are (vm_state, task states or None for any); an empty tuple matches nothing.

    `equals`, `patterns` (regular expressions) and `moments` (within that second) are by column;
    `order` is of SORT_KEYS with whether it descends; times are seconds since the epoch.
    """

    all_projects: bool = False
    project_id: str | None = None
    equals: Mapping[str, Any] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)
    moments: Mapping[str, float] = field(default_factory=dict)
    states: States | None = None
    zone: str | None = None
    hypervisor: str | None = None
    addresses: tuple[str, ...] = ()
    ids: tuple[str, ...] | None = None
    changed_since: float | None = None
    changed_before: float | None = None
    deleted: bool | None = False
    locked: bool | None = None
    tags: TagQuery = TagQuery()
    order: tuple[tuple[str, bool], ...] = (("created_at", True),)
    page: Page = Page()

    def keys(self) -> list[Key]:
        """The columns of `order`."""
        return [(_KEYS[name], descending) for name, descending in self.order]


def narrowed(query: Select[Any], wanted: ServerQuery) -> Select[Any]:
    """`query` with every filter of `wanted` but whose servers they are."""
    conditions = [getattr(Server, name) == value for name, value in wanted.equals.items()]
    conditions += [getattr(Server, name).regexp_match(p) for name, p in wanted.patterns.items()]
    for name, at in wanted.moments.items():
        column = getattr(Server, name)
        conditions.append(and_(column >= at, column < at + 1.0))
    conditions += [_with_address(pattern) for pattern in wanted.addresses]
    return query.where(*conditions, *_places(wanted), *_standing(wanted), *_tagged(wanted.tags))


def _standing(wanted: ServerQuery) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.states is not None:
        found.append(_any_state(wanted.states))
    if wanted.ids is not None:
        found.append(Server.id.in_(wanted.ids))
    if wanted.changed_since is not None:
        found.append(Server.updated_at >= wanted.changed_since)
    if wanted.changed_before is not None:
        # Clients know times in whole seconds.
        found.append(Server.updated_at < math.floor(wanted.changed_before) + 1)
    for column, present in ((Server.deleted_at, wanted.deleted), (Server.locked, wanted.locked)):
        if present is not None:
            found.append(column.is_not(None) if present else column.is_(None))
    return found


def _places(wanted: ServerQuery) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.zone is not None:  # as shown: the host's, else the one that was asked for
        there = Server.host.in_(select(Host.name).where(Host.zone == wanted.zone))
        nowhere = and_(Server.host.is_(None), Server.availability_zone == wanted.zone)
        found.append(or_(there, nowhere))
    if wanted.hypervisor is not None:
        names = select(Host.name).where(Host.hostname == wanted.hypervisor)
        found.append(Server.host.in_(names))
    return found


def _with_address(pattern: str) -> ColumnElement[bool]:
    return Server.id.in_(select(Port.server_id).where(Port.address.regexp_match(pattern)))


def _tagged(tags: TagQuery) -> list[ColumnElement[bool]]:
    ways = (
        (tags.every, server_tags.carries_all),
        (tags.some, server_tags.carries_any),
        (tags.not_every, server_tags.carries_not_all),
        (tags.none, server_tags.carries_none),
    )
    return [condition(given) for given, condition in ways if given]


def _any_state(states: States) -> ColumnElement[bool]:
    matches: ColumnElement[bool] = false()
    for vm_state, tasks in states:
        one: ColumnElement[bool] = Server.vm_state == vm_state
        if tasks is not None:
            one = and_(one, Server.task_state.in_(tasks))
        matches = or_(matches, one)
    return matches
