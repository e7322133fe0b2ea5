"""Other packages' parts at work: their actions performed, their fields shown, their routes hung."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from flask import Response
from flask_restx import Namespace
from jsonschema import Draft202012Validator
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app import logs
from app.errors import Bug, NovellaError
from app.models import Server
from app.store import servers
from app.store.database import reading, told_of
from app.web import context
from app.web.accepting import Accepted, accept
from app.web.body import Schema, only
from app.web.extending.loading import Extensions
from app.web.extending.parts import SHAPES, Action, Asked, Field
from app.web.policy import allows

log = logs.get(__name__)
ROOT = "/v2.1"


def schema_of(action: Action) -> Schema:
    """The schema of the whole body. What the action's own refers to is meant within itself."""
    value = {"$id": f"urn:novella:action:{action.name}", **action.schema}
    return Schema(action.name, only({action.name: value}))


def performer(action: Action) -> Callable[[str, Any], Response]:
    """The action as a function of (server id, value), in one transaction with all it starts."""

    def perform(server_id: str, value: Any) -> Response:
        def work(session: Session) -> Accepted:
            caller = context.caller()
            server = servers.hold(session, caller, server_id)
            if action.locked_out:
                servers.check_unlocked(caller, server)
            asked = Asked(session, caller, server, value)
            told = _performed(action, asked)
            status = 202 if asked.started or not told else 200
            return Accepted(asked.started, status, told)

        return accept(work)

    return perform


def _performed(action: Action, asked: Asked) -> bytes:
    try:
        told = action.perform(asked)
        return b"" if told is None else orjson.dumps(told)
    except NovellaError:
        raise
    except Exception as error:  # another package's code
        if isinstance(error, SQLAlchemyError) and told_of(error) is not None:
            raise  # the database's doing, for which the transaction has an answer
        raise Bug(f"the server action {action.name} fails: {type(error).__name__}") from error


def with_fields(shown: list[dict[str, Any]], found: Sequence[Server]) -> list[dict[str, Any]]:
    """The servers `found` as they are `shown`, with what other packages show to this caller.

    A field that fails, or tells what its schema does not allow, is left out and logged: it must
    not take the servers along.
    """
    fields = context.web().extensions.fields
    for field in fields.values() if found else ():
        if not allows(field.rule.name):
            continue
        try:
            values = _values(field, found)
        except Exception as error:  # another package's code
            log.exception("server field left out", field=field.name, error=str(error))
            continue
        for one in shown:
            one[field.name] = values[one["id"]]
    return shown


def _values(field: Field, found: Sequence[Server]) -> dict[str, Any]:
    with reading() as session:  # its own: a failed statement would spoil the next field's
        given = dict(field.values(session, found))
    validator = Draft202012Validator(dict(field.schema))
    values = {server.id: given.get(server.id) for server in found}
    for value in values.values():
        if value is not None:
            validator.validate(value)
    orjson.dumps(values)
    return values


def namespace(extensions: Extensions) -> Namespace:
    """A namespace of the routes that were added."""
    made = Namespace(SHAPES.name, SHAPES.description, path=SHAPES.path)
    made.models = SHAPES.models
    for path, view in extensions.routes.items():
        made.add_resource(view, ROOT + path)
    return made
