"""Services: one nova-compute per host, and what each scheduler worker that lives does."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flask import Response, request
from sqlalchemy.orm import Session

from app import logs
from app.errors import Invalid, NotFound
from app.models import Host
from app.store import hosts, hosts_admin
from app.store.database import reading, transaction
from app.tasks import board
from app.tasks.board import ControlBeat
from app.web import context
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body, is_true
from app.web.compute import resource_schemas as schemas
from app.web.compute.ranges import known_parameters
from app.web.compute.versions import ns
from app.web.shapes import compute as shapes
from app.web.shapes.parts import NOTHING
from app.web.times import micros

log = logs.get(__name__)
COMPUTE = "nova-compute"
BY_UUID = (2, 53)
_BINARIES = {"conductor": "nova-conductor", "scheduler": "nova-scheduler"}
_CONTROL = uuid.UUID("6f1f4b1e-52a6-4d0c-9c6f-0d4a6f0f5b51")


@dataclass(frozen=True)
class Service:
    """One line of the list; `number` is its id below 2.53."""

    uuid: str
    number: int
    binary: str
    host: str
    zone: str
    updated_at: float
    up: bool = True
    enabled: bool = True
    disabled_reason: str | None = None
    forced_down: bool = False

    def shown(self) -> dict[str, Any]:
        """As this request's version has it."""
        version = context.version()
        document: dict[str, Any] = {
            "id": self.uuid if version >= BY_UUID else self.number,
            "binary": self.binary,
            "host": self.host,
            "zone": self.zone,
            "status": "enabled" if self.enabled else "disabled",
            "state": "up" if self.up else "down",
            "updated_at": micros(self.updated_at),
            "disabled_reason": self.disabled_reason,
        }
        return document | ({"forced_down": self.forced_down} if version >= (2, 11) else {})


def is_up(host: Host) -> bool:
    """Whether the host's worker and hypervisor answer, and nobody declared it down."""
    return host.state == hosts.UP and not host.forced_down


def _compute(host: Host) -> Service:
    return Service(
        uuid=host.uuid,
        number=host.number,
        binary=COMPUTE,
        host=host.name,
        zone=host.zone,
        updated_at=host.last_seen,
        up=is_up(host),
        enabled=host.enabled,
        disabled_reason=host.disabled_reason,
        forced_down=host.forced_down,
    )


def control_services() -> list[Service]:
    """What the scheduler workers do that live now; nothing is known when Redis is away."""
    try:
        beats = board.controls()
    except board.AWAY as error:
        log.warning("scheduler workers cannot be listed: Redis is away", error=str(error))
        return []
    pairs = [(queue, beat) for queue in sorted(_BINARIES) for beat in beats]
    return [_control(beat, queue) for queue, beat in pairs if queue in beat.queues]


def _control(beat: ControlBeat, queue: str) -> Service:
    binary = _BINARIES[queue]
    id_ = uuid.uuid5(_CONTROL, f"{binary} {beat.name}")
    return Service(
        uuid=str(id_),
        number=2**30 + zlib.crc32(id_.bytes) % 2**30,  # far above the hosts'
        binary=binary,
        host=beat.name.rpartition("@")[2],
        zone="internal",
        updated_at=beat.at,
    )


@ns.route("/v2.1/os-services")
class Services(Route):
    shows = {"get": shapes.SERVICES}
    policy = {"get": "os_compute_api:os-services:list"}

    @ns.doc(params={"host": "only this host's", "binary": "only this binary"})
    def get(self) -> Response:
        """List services."""
        known_parameters("host", "binary")
        with reading() as session:
            found = [_compute(host) for host in hosts.all_hosts(session)]
        found = [*control_services(), *found]
        for field in ("host", "binary"):
            if wanted := request.args.get(field):
                found = [one for one in found if getattr(one, field) == wanted]
        return answer({"services": [one.shown() for one in found]})


@ns.route("/v2.1/os-services/<service_id>")
class OneService(Route):
    shows = {"put": shapes.SERVICE_CHANGED, "delete": NOTHING}
    policy = {
        "put": "os_compute_api:os-services:update",
        "delete": "os_compute_api:os-services:delete",
    }

    @documented(ns, schemas.SERVICE_CHANGE)
    def put(self, service_id: str) -> Response:
        """Enable, disable or declare down; below 2.53 the last part of the path says which."""
        if context.version() < BY_UUID:
            return _act(service_id)
        wanted = body(schemas.SERVICE_CHANGE)
        reason = wanted.get("disabled_reason")
        if reason is not None and wanted.get("status") != "disabled":
            raise Invalid('Specifying disabled_reason requires that status is set to "disabled".')
        values: dict[str, Any] = {}
        if "status" in wanted:
            values |= {"enabled": wanted["status"] == "enabled", "disabled_reason": reason}
        if "forced_down" in wanted:
            values["forced_down"] = is_true(wanted["forced_down"])
        with _changing(service_id) as (session, host):
            hosts_admin.change(session, host.name, values)
            session.refresh(host)
        return answer({"service": _compute(host).shown()})

    def delete(self, service_id: str) -> Response:
        """Forget a host that is down and holds nothing."""
        with _changing(service_id) as (session, host):
            hosts_admin.forget(session, host.name)
        return nothing()


@contextmanager
def _changing(service_id: str) -> Iterator[tuple[Session, Host]]:
    """A transaction, and the host that is meant. Raises Invalid for a service that is no host's."""
    try:
        with transaction() as session:
            yield session, _find(session, service_id)
    except NotFound:
        _refuse_control(service_id)  # asks Redis: after the transaction
        raise


def _find(session: Session, service_id: str) -> Host:
    """The host with that id. Raises Invalid for what can be no id, and NotFound."""
    if context.version() < BY_UUID:
        if not (service_id.isascii() and service_id.isdigit() and len(service_id) < 10):
            raise Invalid("Invalid service id: not a whole number")
        return hosts_admin.find(session, number=int(service_id))
    try:
        return hosts_admin.find(session, uuid=str(uuid.UUID(service_id)))
    except ValueError as error:
        raise Invalid("Invalid uuid: the id of a service is one from 2.53 on") from error


def _refuse_control(service_id: str) -> None:
    for one in control_services():
        if service_id in (one.uuid, str(one.number)):
            raise Invalid(
                f"Updating a {one.binary} service is not supported. Only nova-compute services "
                "can be updated."
            )


def _act(action: str) -> Response:
    """PUT below 2.53: the host and binary are in the body."""
    if action not in _ACTIONS or (action == "force-down" and context.version() < (2, 11)):
        raise NotFound("Unknown action")
    forcing = action == "force-down"
    wanted = body(schemas.SERVICE_FORCE_DOWN if forcing else schemas.SERVICE_ACTION)
    reason = wanted.get("disabled_reason")
    if action == "disable-log-reason" and reason is None:
        raise Invalid("Missing disabled reason field: disabled_reason")
    shown: dict[str, Any] = {"host": wanted["host"], "binary": wanted["binary"]}
    if forcing:
        values: dict[str, Any] = {"forced_down": is_true(wanted["forced_down"])}
        shown |= values
    else:
        enabled = action == "enable"
        values = {"enabled": enabled, "disabled_reason": None if enabled else reason}
        shown["status"] = "enabled" if enabled else "disabled"
        if action == "disable-log-reason":
            shown["disabled_reason"] = reason
    _set(wanted["host"], wanted["binary"], values)
    return answer({"service": shown})


def _set(host: str, binary: str, values: dict[str, Any]) -> None:
    missing = NotFound(f"Could not find binary {binary} on host {host}.")
    if binary != COMPUTE:
        known = any(one.host == host and one.binary == binary for one in control_services())
        raise Invalid(f"Only {COMPUTE} services can be updated.") if known else missing
    with transaction() as session:
        if hosts.get(session, host) is None:
            raise missing
        hosts_admin.change(session, host, values)


_ACTIONS = ("enable", "disable", "disable-log-reason", "force-down")
