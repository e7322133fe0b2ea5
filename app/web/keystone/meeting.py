"""For handlers that are told of projects and users of whom no request has come yet."""

from __future__ import annotations

from flask import request

from app.models import Project, User
from app.store.database import reading
from app.store.shadows import Kind
from app.web import context


def project(id_: str) -> None:
    """With a Keystone, see that its project `id_`, if there is one, is known to the database."""
    _meet(Project, id_)


def user(id_: str) -> None:
    """With a Keystone, see that its user `id_`, if there is one, is known to the database."""
    _meet(User, id_)


def _meet(kind: Kind, id_: str) -> None:
    keystone = context.web().keystone
    if keystone is None or not 0 < len(id_) <= 64:
        return
    with reading() as session:
        if session.get(kind, id_) is not None:
            return
    keystone.ask(kind, id_, request.headers["X-Auth-Token"].strip())
