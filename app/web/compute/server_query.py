"""From the query string of a server list to a ServerQuery."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flask import request

from app.domain import states
from app.errors import Forbidden, Invalid
from app.store.paging import Page
from app.store.server_filters import SORT_KEYS, ServerQuery, States, TagQuery
from app.web import context, query, times
from app.web.compute import ranges
from app.web.policy import allows, require

PARAMS = {
    "name": "a regular expression",
    "status": "ACTIVE, BUILD, ERROR, SHUTOFF …; several times for several",
    "image": "an image's id",
    "flavor": "a flavor's id",
    "ip": "a regular expression on addresses; ip6 likewise",
    "uuid": "a server's id",
    "reservation_id": "made in this request",
    "tags": "from 2.26: with all of these, commas between; also tags-any, not-tags, not-tags-any",
    "changes-since": "ISO 8601: changed then or later, deleted ones too",
    "changes-before": "from 2.66, ISO 8601: changed then or earlier, deleted ones too",
    "locked": "from 2.73: true or false",
    "availability_zone": "for administrators, from 2.83 for all; so are key_name, config_drive, "
    "user_id, created_at, launched_at, terminated_at, power_state, task_state and vm_state",
    "host": "for administrators: on this host; node likewise, by its own name",
    "all_tenants": "for administrators: true shows everybody's",
    "project_id": "for administrators, with all_tenants: this project's",
    "deleted": "for administrators: true shows deleted ones",
    "sort_key": "created_at (default), display_name, uuid …; several times for several",
    "sort_dir": "desc (default) or asc, for each sort_key",
    "limit": "at most 1000",
    "marker": "the last id of the page before",
}
ALL_FILTERS = "os_compute_api:servers:allow_all_filters"
_MOST_REPEATS = 3
_MOST_TAGS = 50


def _text(name: str, text: str) -> str:
    return text


def _whole(name: str, text: str) -> int:
    return query.number(name, 0)


def _power(name: str, text: str) -> int:
    found = {"nostate": 0, "running": 1, "paused": 3, "shutdown": 4, "crashed": 6, "suspended": 7}
    return found[text.lower()] if text.lower() in found else query.number(name, 0)


def _managed(name: str, text: str) -> str:
    return "AUTO" if query.truth(name, text) else "MANUAL"


_EQUALS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "reservation_id": ("reservation_id", _text),
    "image": ("image_id", _text),
    "image_ref": ("image_id", _text),
    "flavor": ("flavor_id", _text),
    "user_id": ("user_id", _text),
    "host": ("host", _text),
    "key_name": ("key_name", _text),
    "launch_index": ("launch_index", _whole),
    "vm_state": ("vm_state", _text),
    "task_state": ("task_state", _text),
    "power_state": ("power_state", _power),
    "config_drive": ("config_drive", query.truth),
    "locked_by": ("locked", _text),
    "access_ip_v4": ("access_ipv4", _text),
    "access_ip_v6": ("access_ipv6", _text),
    "auto_disk_config": ("disk_config", _managed),
}
_PATTERNS = {
    "name": "name",
    "display_name": "name",
    "hostname": "hostname",
    "description": "description",
    "display_description": "description",
}
_MOMENTS = ("created_at", "launched_at", "terminated_at")
_OTHERS = (
    "status", "uuid", "ip", "ip6", "availability_zone", "node", "changes-since", "all_tenants",
    "project_id", "tenant_id", "deleted", "sort_key", "sort_dir", "limit", "marker",
)  # fmt: skip
_SINCE = {
    "tags": (2, 26), "tags-any": (2, 26), "not-tags": (2, 26), "not-tags-any": (2, 26),
    "changes-before": (2, 66), "locked": (2, 73),
}  # fmt: skip
_EVERYBODYS = {"reservation_id", "image", "flavor", "name"}
_EVERYBODYS_SINCE_2_83 = {
    "availability_zone", "config_drive", "key_name", "created_at", "launched_at", "terminated_at",
    "power_state", "task_state", "vm_state", "user_id",
}  # fmt: skip


def parse(every_project: str) -> ServerQuery:
    """What the request's query asks for; `every_project` is the rule for all_tenants.

    What this caller may not filter by does not count, as in Nova. Raises Invalid or Forbidden.
    """
    ranges.known_parameters(*_known())
    args, may_all = request.args, allows(ALL_FILTERS)
    usable = {name: text for name, text in args.items() if may_all or name in _open()}
    all_projects = _all_projects(every_project)
    ids = args.getlist("uuid") or None
    since, before = _moment("changes-since"), _moment("changes-before")
    if since is not None and before is not None and since > before:
        raise Invalid("The value of changes-since must be less than or equal to changes-before.")
    wanted_states, gone = _states(may_all)
    return ServerQuery(
        all_projects=all_projects,
        project_id=(args.get("project_id") or args.get("tenant_id")) if all_projects else None,
        equals={
            column: convert(name, usable[name])
            for name, (column, convert) in _EQUALS.items()
            if name in usable
        },
        patterns={_PATTERNS[name]: _pattern(name) for name in _PATTERNS if name in usable},
        moments={name: times.parse(usable[name], name) for name in _MOMENTS if name in usable},
        states=wanted_states,
        zone=usable.get("availability_zone"),
        hypervisor=usable.get("node"),
        addresses=tuple(_pattern(name) for name in ("ip", "ip6") if name in args),
        ids=tuple(ids) if ids else None,
        changed_since=since,
        changed_before=before,
        deleted=True if gone else _deleted(may_all, since is not None or before is not None),
        locked=query.flag("locked") if "locked" in _known() else None,
        tags=_tags(),
        order=_order(may_all),
        page=Page(query.limit(), args.get("marker")),
    )


def _known() -> set[str]:
    version = context.version()
    newer = {name for name, since in _SINCE.items() if version >= since}
    return {*_EQUALS, *_PATTERNS, *_MOMENTS, *_OTHERS, *newer}


def _open() -> set[str]:
    return _EVERYBODYS | (_EVERYBODYS_SINCE_2_83 if context.version() >= (2, 83) else set())


def _all_projects(rule: str) -> bool:
    # The word alone, without a value, means yes.
    asked = request.args.get("all_tenants") == "" or bool(query.flag("all_tenants"))
    if asked:
        require(rule)
    return asked


def _moment(name: str) -> float | None:
    text = request.args.get(name) if name in _known() else None
    return times.parse(text, name) if text else None


def _deleted(may: bool, by_change: bool) -> bool | None:
    asked = query.flag("deleted")
    if may and asked is not None:
        return asked
    # Whoever synchronises by changes-since must learn of deletions.
    return None if by_change else False


def _pattern(name: str) -> str:
    """A regular expression of the plain sort: its matching must end soon, in every database."""
    text = request.args[name]
    plain = re.sub(r"\\.", "x", text)
    if (
        len(text) > 255
        or re.search(r"\(\?|\{|\[\[", plain)
        or len(re.findall(r"[*+?]", plain)) > _MOST_REPEATS
        or re.search(r"\)[*+?]", plain)
    ):
        raise Invalid(
            f"Invalid input for query parameter {name}: at most 255 characters, "
            f"{_MOST_REPEATS} repetitions, none of a group, none of (?, {{ and [["
        )
    try:
        re.compile(text)
    except (re.error, OverflowError) as error:
        raise Invalid(f"Invalid input for query parameter {name}: {error}") from error
    return text


def _states(may_all: bool) -> tuple[States | None, bool]:
    """The states of the statuses asked for, and whether those are of deleted servers only."""
    wanted = [text.upper() for text in request.args.getlist("status")]
    if not wanted:
        return None, False
    found: list[tuple[str, frozenset[str] | None]] = []
    for status in wanted:
        found += [(vm_state, None) for vm_state, name in states.STATUS.items() if name == status]
        by_task = [pair for pair, name in states.STATUS_BY_TASK.items() if name == status]
        found += [(vm_state, frozenset({task})) for vm_state, task in by_task]
    if not found and context.version() >= (2, 38):
        known = sorted({*states.STATUS.values(), *states.STATUS_BY_TASK.values()})
        raise Invalid(f"Invalid input for query parameter status: none of {', '.join(known)}")
    gone = {vm_state for vm_state, _ in found} == {states.DELETED}
    if gone and not may_all:
        raise Forbidden("Only administrators may list deleted instances")
    return tuple(found), gone


def _tags() -> TagQuery:
    def given(name: str) -> tuple[str, ...]:
        text = request.args.get(name, "") if name in _known() else ""
        found = tuple(tag for tag in text.split(",") if tag)
        if len(found) > _MOST_TAGS:  # no server has more
            raise Invalid(f"Invalid input for query parameter {name}: more than {_MOST_TAGS} tags")
        return found

    return TagQuery(given("tags"), given("tags-any"), given("not-tags"), given("not-tags-any"))


def _order(may_all: bool) -> tuple[tuple[str, bool], ...]:
    keys = request.args.getlist("sort_key") or ["created_at"]
    ways = request.args.getlist("sort_dir")
    allowed = [key for key in SORT_KEYS if key != "locked" or context.version() >= (2, 73)]
    for key in keys:
        if key not in allowed:
            raise Invalid(
                f"Invalid input for query parameter sort_key: not one of {', '.join(allowed)}"
            )
        if key == "host" and not may_all:
            raise Forbidden(f"Only administrators can sort servers by {key}")
    if len(ways) > len(keys) or not set(ways) <= {"asc", "desc"}:
        raise Invalid(
            "Invalid input for query parameter sort_dir: asc or desc, one for each sort_key"
        )
    ways += ["desc"] * (len(keys) - len(ways))
    return tuple((key, way == "desc") for key, way in zip(keys, ways, strict=True))
