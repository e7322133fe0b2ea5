"""From the query string of a server list to a ServerQuery."""

from __future__ import annotations

import re

from flask import request

from app.domain import states
from app.errors import Invalid
from app.store.paging import Page
from app.store.server_listing import SORT_KEYS, ServerQuery
from app.web import context, query, times
from app.web.policy import require

PARAMS = {
    "name": "a regular expression",
    "status": "ACTIVE, BUILD, ERROR, SHUTOFF …; several times for several",
    "image": "an image's id",
    "flavor": "a flavor's id",
    "ip": "a regular expression on addresses",
    "uuid": "a server's id",
    "reservation_id": "made in this request",
    "host": "for administrators: on this host",
    "all_tenants": "for administrators: true shows everybody's",
    "project_id": "for administrators, with all_tenants: this project's",
    "deleted": "for administrators: true shows deleted ones",
    "changes-since": "ISO 8601: changed then or later, deleted ones too",
    "sort_key": "created_at (default), display_name, uuid …",
    "sort_dir": "desc (default) or asc",
    "limit": "at most 1000",
    "marker": "the last id of the page before",
}
_MOST_REPEATS = 3


def parse() -> ServerQuery:
    """What the request's query asks for. Raises Invalid or Forbidden."""
    args, admin = request.args, context.caller().is_admin
    all_projects = bool(query.flag("all_tenants"))
    if all_projects:
        require("os_compute_api:servers:index:get_all_tenants")
    since = args.get("changes-since")
    ids = args.getlist("uuid") or None
    return ServerQuery(
        all_projects=all_projects,
        project_id=(args.get("project_id") or args.get("tenant_id")) if all_projects else None,
        user_id=args.get("user_id") if admin else None,
        name=_pattern("name"),
        states=_states(),
        image_id=args.get("image"),
        flavor_id=args.get("flavor"),
        host=args.get("host") if admin else None,
        zone=args.get("availability_zone") if admin else None,
        reservation_id=args.get("reservation_id"),
        key_name=args.get("key_name") if admin else None,
        address=_pattern("ip"),
        ids=tuple(ids) if ids else None,
        changed_since=times.parse(since, "changes-since") if since else None,
        deleted=_deleted(admin, since),
        sort_key=query.choice("sort_key", "created_at", SORT_KEYS),
        page=Page(
            query.limit(),
            args.get("marker"),
            query.choice("sort_dir", "desc", ("asc", "desc")) == "desc",
        ),
    )


def _deleted(admin: bool, since: str | None) -> bool | None:
    asked = query.flag("deleted")
    if admin and asked is not None:
        return asked
    # Whoever synchronises by changes-since must learn of deletions.
    return None if since else False


def _pattern(name: str) -> str | None:
    """A regular expression of the plain sort: its matching must end soon, in every database."""
    text = request.args.get(name)
    if text is None:
        return None
    repeats = len(re.findall(r"(?<!\\)[*+]", text))
    if (
        len(text) > 255
        or re.search(r"\(\?|\{|\[\[", text)
        or repeats > _MOST_REPEATS
        or re.search(r"\)[*+?]", text)
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


def _states() -> tuple[tuple[str, frozenset[str] | None], ...] | None:
    wanted = [text.upper() for text in request.args.getlist("status")]
    if not wanted:
        return None
    found: list[tuple[str, frozenset[str] | None]] = []
    for status in wanted:
        found += [(vm_state, None) for vm_state, name in states.STATUS.items() if name == status]
        by_task = [pair for pair, name in states.STATUS_BY_TASK.items() if name == status]
        found += [(vm_state, frozenset({task})) for vm_state, task in by_task]
    return tuple(found)
