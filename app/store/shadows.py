"""Rows for projects and users that a Keystone elsewhere keeps, so that ours can refer to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from app.models import Domain, Project, User

Kind = type[Project] | type[User]
_LONGEST = {"id": 64, "name": 255}


@dataclass(frozen=True)
class Shadow:
    """A project or a user as Keystone knows it; `domain` is id and name."""

    kind: Kind
    id: str
    name: str
    domain: tuple[str, str]

    @classmethod
    def of_project(cls, told: Mapping[str, Any]) -> Shadow:
        """From a part of Keystone's documents. Raises KeyError, TypeError, ValueError."""
        return cls(Project, *_named(told), _domain(told))

    @classmethod
    def of_user(cls, told: Mapping[str, Any]) -> Shadow:
        """From a part of Keystone's documents. Raises KeyError, TypeError, ValueError."""
        return cls(User, *_named(told), _domain(told))


def _named(told: Mapping[str, Any]) -> tuple[str, str]:
    id_ = told["id"]
    if not isinstance(id_, str) or not 0 < len(id_) <= _LONGEST["id"]:
        raise ValueError("an id is missing, or longer than 64 characters")
    return id_, str(told.get("name") or id_)[: _LONGEST["name"]]


def _domain(told: Mapping[str, Any]) -> tuple[str, str]:
    return _named(told.get("domain") or {"id": "default"})


def is_kept(session: Session, shadow: Shadow) -> bool:
    """Whether there is a row for it, by its name of now."""
    name = session.scalar(select(shadow.kind.name).where(shadow.kind.id == shadow.id))
    return name in (shadow.name, _unlike(shadow.name, shadow.id))


def keep(session: Session, shadow: Shadow) -> None:
    """Make a row for it and for its domain, or follow its name; any number may do so at once.

    Keystone's names are unique, but ours may be of other times and of the built-in identity: a
    name that another row has is kept with the id behind it.
    """
    domain_id, domain_name = shadow.domain
    _keep(session, Domain, {"id": domain_id, "name": domain_name})
    values = {"id": shadow.id, "name": shadow.name, "domain_id": domain_id}
    _keep(session, shadow.kind, values)


def _keep(session: Session, kind: Any, values: dict[str, str]) -> None:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    id_, name = values["id"], values["name"]
    for row in (values, {**values, "name": _unlike(name, id_)}):
        if session.scalar(select(kind.id).where(kind.id == id_)) is not None:
            break
        session.execute(insert(kind).values(row).on_conflict_do_nothing())
    if name == id_:
        return  # all that was told is the id
    renamed = update(kind).where(kind.id == id_, kind.name != name, ~_taken(kind, values))
    try:
        with session.begin_nested():
            session.execute(renamed.values(name=name).execution_options(synchronize_session=False))
    except IntegrityError:
        pass  # taken just now: whoever comes next tries again


def _taken(kind: Any, values: Mapping[str, str]) -> ColumnElement[bool]:
    other = aliased(kind)
    found = select(other.id).where(other.name == values["name"], other.id != values["id"])
    if "domain_id" in values:
        found = found.where(other.domain_id == values["domain_id"])
    return found.exists()


def _unlike(name: str, id_: str) -> str:
    return f"{name[:189]} ({id_})"
