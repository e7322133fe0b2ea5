"""`/v1/hosts`: hypervisors, and the door by which machines join as such."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from flask import Response, request
from flask_restx import Namespace

from app import joining, logs
from app.config import Settings
from app.images.keys import load_keys
from app.store import hosts_admin, plans
from app.store import joining as rows
from app.store.database import reading
from app.web import context
from app.web.accepting import once
from app.web.answers import answer
from app.web.api import Route, documented
from app.web.body import Json, Schema, body, only, parsed
from app.web.shapes import v1 as shapes
from app.web.times import micros_z

ns = Namespace("hosts", "Hypervisors, and joining them", path="/v1/hosts")

_TEXT: Json = {"type": "string", "minLength": 1, "maxLength": 1024}
_UUID = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
_MACHINE: dict[str, Json] = {
    "token": _TEXT,
    "name": {"type": "string", "maxLength": 63, "pattern": f"^{joining.HOST_NAME}$"},
    "uuid": {"type": "string", "maxLength": 36, "pattern": _UUID},
}
_URL: Json = {"type": "string", "maxLength": 1024, "pattern": r"^https?://[^\s/?#@][^\s?#@]*$"}
JOIN = Schema("JoinHost", only({**_MACHINE, "url": _URL}, {"known": {"type": "boolean"}}))
_OPENED = Schema(
    "JoinToken", {"type": "object", "properties": {"token": _TEXT}, "required": ["token"]}
)
STANDING = Schema("HostStanding", only(_MACHINE))
MINUTES: Json = {"type": "integer", "minimum": 1, "maximum": joining.LONGEST_MINUTES}
TOKEN = Schema("JoinToken", only({}, {"minutes": MINUTES}))


@ns.route("")
class Hosts(Route):
    shows = {"get": shapes.HOSTS}
    policy = {"get": "novella:hosts:list"}

    def get(self) -> Response:
        """Every host with its state and use."""
        with reading() as session:
            found = hosts_admin.overview(session)
        return answer({"hosts": [{k: v for k, v in h.items() if k != "session"} for h in found]})


@ns.route("/tokens")
class JoinTokens(Route):
    shows = {"post": shapes.JOIN_TOKEN}
    policy = {"post": "novella:hosts:token"}
    answers = {"post": (201,)}

    @documented(ns, TOKEN)
    def post(self) -> Response:
        """Make a token for `novella host join`; it is valid for `minutes` (15)."""
        minutes = body(TOKEN).get("minutes", joining.DEFAULT_MINUTES)
        made = joining.make_token(_keys(), minutes * 60)
        told = {"token": made, "expires_at": micros_z(time.time() + minutes * 60)}
        return once(lambda session: _secret(told, 201))


@ns.route("/join")
class Join(Route):
    shows = {"post": shapes.joined(joining.FOR_HOSTS)}
    public = True  # the body's token opens it
    keyless = "it only reads, and the caller has no project"

    @ns.doc(security=[])
    @documented(ns, JOIN)
    def post(self) -> Response:
        """What a machine needs to be a host: the cloud's id, its broker, its timing."""
        wanted = _machine(JOIN)
        settings, url = context.settings(), wanted["url"]
        with reading() as session:
            rows.admit(session, wanted["name"], wanted["uuid"].lower(), wanted.get("known", False))
            cloud_id = plans.cloud_id(session)
        told = {
            "cloud_id": cloud_id,
            "broker_url": joining.broker_for_hosts(settings, settings.broker_url, url),
            "result_url": settings.result_url
            and joining.broker_for_hosts(settings, settings.result_url, url),
            "settings": _for_hosts(settings),
        }
        logs.get(__name__).info(
            "a host joins", host=wanted["name"], uuid=wanted["uuid"], address=request.remote_addr
        )
        return _secret(told, 200)


@ns.route("/standing")
class Standing(Route):
    shows = {"post": shapes.STANDING}
    public = True  # the body's token opens it
    keyless = "it only reads, and the caller has no project"

    @ns.doc(security=[])
    @documented(ns, STANDING)
    def post(self) -> Response:
        """How far a machine that joins has got."""
        wanted = _machine(STANDING)
        with reading() as session:
            state = rows.standing(session, wanted["name"], wanted["uuid"].lower())
        return _secret({"name": wanted["name"], "state": state}, 200)


def _machine(schema: Schema) -> Json:
    """The request's body, with a token that is good. Raises Invalid, Unauthorized."""
    given = _OPENED.check(parsed())
    joining.check_token(_keys(), given["token"])  # before whatever else a stranger sends
    wanted: Json = schema.check(given)
    return wanted


def _for_hosts(settings: Settings) -> dict[str, Any]:
    """The settings in which hosts follow this cloud, where they differ from their defaults."""
    default = {field.name: field.default for field in dataclasses.fields(Settings)}
    values = {name: getattr(settings, name) for name in joining.FOR_HOSTS}
    return {name: value for name, value in values.items() if value != default[name]}


def _keys() -> list[str]:
    return load_keys(context.settings().path("keys"))


def _secret(data: dict[str, Any], status: int) -> Response:
    made = answer(data, status)
    made.headers["Cache-Control"] = "no-store"
    return made
