"""Quota sets: the limits of a project or of one user in it, and what is used of them."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from sqlalchemy.orm import Session

from app.errors import Invalid
from app.store import quotas, tenants, user_quotas
from app.store.database import reading, transaction
from app.web import context
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body, is_true
from app.web.compute import resource_schemas as schemas
from app.web.compute.ranges import known_parameters
from app.web.compute.versions import ns
from app.web.keystone import meeting
from app.web.policy import INSIDE, require
from app.web.shapes import operating as shapes
from app.web.shapes.parts import NOTHING

_USER = {"user_id": "of this user in the project"}
_MOST = 2**31 - 1


_RULE = "os_compute_api:os-quota-sets:"


def _resources() -> tuple[str, ...]:
    """Those that this request's version knows."""
    version = context.version()
    left_out = (quotas.NETWORK if version >= (2, 36) else ()) + (
        quotas.INJECTED if version >= (2, 57) else ()
    )
    return tuple(name for name in quotas.RESOURCES if name not in left_out)


def _shown(limits: dict[str, int], **more: str) -> Response:
    return answer({"quota_set": {**more, **{name: limits[name] for name in _resources()}}})


def _allowed(verb: str, project_id: str) -> None:
    known_parameters(*_USER)
    require(_RULE + verb, project_id=project_id)
    meeting.project(project_id)


def _user() -> str | None:
    """The user who is meant, if it is not the whole project."""
    user_id = request.args.get("user_id") or None
    if user_id is not None and len(user_id) > 64:
        raise Invalid("Invalid input for query parameter user_id: is longer than 64 characters")
    return user_id


def _limits(session: Session, project_id: str, user_id: str | None) -> dict[str, int]:
    if user_id is None:
        return quotas.limits(session, project_id)
    return user_quotas.limits(session, project_id, user_id)


def numbers(wanted: dict[str, Any], field: str) -> dict[str, int]:
    """The limits of a checked body. Raises Invalid for one that is too large."""
    given = {name: int(value) for name, value in wanted.items()}
    for name, value in given.items():
        if value > _MOST:
            raise Invalid(f"Invalid input for field {field}.{name}: is more than {_MOST}")
    return given


@ns.route("/v2.1/os-quota-sets/<project_id>")
class QuotaSet(Route):
    shows = {"get": shapes.LIMITS, "put": shapes.LIMITS_SET, "delete": NOTHING}
    policy = {"get": INSIDE, "put": INSIDE, "delete": INSIDE}
    answers = {"delete": (202,)}
    asks = {"get": (f"{_RULE}show",), "put": (f"{_RULE}update",), "delete": (f"{_RULE}delete",)}

    @ns.doc(params=_USER)
    def get(self, project_id: str) -> Response:
        """Show a project's limits, or a user's in it; -1 is without limit."""
        _allowed("show", project_id)
        with reading() as session:
            tenants.check(session, project_id)
            limits = _limits(session, project_id, _user())
        return _shown(limits, id=project_id)

    @ns.doc(params=_USER)
    @documented(ns, schemas.QUOTA_SETS[0])
    def put(self, project_id: str) -> Response:
        """Set limits; below what is used only with `force`."""
        _allowed("update", project_id)
        user_id = _user()
        wanted = body(schemas.quota_set(context.version()))["quota_set"]
        force = is_true(wanted.pop("force", False))
        given = numbers(wanted, "quota_set")
        with transaction() as session:
            tenants.check(session, project_id)
            if user_id is None:
                quotas.set_limits(session, project_id, given, force=force)
            else:
                user_quotas.set_limits(session, project_id, user_id, given, force=force)
            limits = _limits(session, project_id, user_id)
        return _shown(limits)

    @ns.doc(params=_USER)
    def delete(self, project_id: str) -> Response:
        """Let the defaults hold for the project again, or the project's limits for a user."""
        _allowed("delete", project_id)
        user_id = _user()
        with transaction() as session:
            if user_id is None:
                quotas.reset_limits(session, project_id)
            else:
                user_quotas.reset_limits(session, project_id, user_id)
        return nothing(202)


@ns.route("/v2.1/os-quota-sets/<project_id>/detail")
class QuotaSetDetail(Route):
    shows = {"get": shapes.LIMITS_AND_USE}
    policy = {"get": INSIDE}
    asks = {"get": (f"{_RULE}detail",)}

    @ns.doc(params=_USER)
    def get(self, project_id: str) -> Response:
        """Show the limits of a project, or of a user in it, and what is used of them."""
        _allowed("detail", project_id)
        user_id = _user()
        with reading() as session:
            tenants.check(session, project_id)
            limits = _limits(session, project_id, user_id)
            if user_id is None:
                used = quotas.usage(session, project_id)
            else:
                used = user_quotas.usage(session, project_id, user_id)
        shown: dict[str, Any] = {
            name: {"limit": limits[name], "in_use": used.get(name, 0), "reserved": 0}
            for name in _resources()
        }
        return answer({"quota_set": {"id": project_id, **shown}})


@ns.route("/v2.1/os-quota-sets/<project_id>/defaults")
class QuotaSetDefaults(Route):
    shows = {"get": shapes.LIMITS}
    policy = {"get": INSIDE}
    asks = {"get": (f"{_RULE}defaults", f"{_RULE}show")}

    def get(self, project_id: str) -> Response:
        """Show the limits that hold for a project without its own."""
        _allowed("defaults", project_id)
        # Of another project nobody but administrators learns that it exists.
        require(f"{_RULE}show", project_id=project_id)
        with reading() as session:
            tenants.check(session, project_id)
            limits = quotas.class_limits(session)
        return _shown(limits, id=project_id)
