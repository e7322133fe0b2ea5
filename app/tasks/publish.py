"""Ringing: telling a queue that a row wants work. Best effort, after the commit, never more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import Celery, Signature, chain

from app import broker, logs
from app.config import settings
from app.errors import Bug
from app.models import Action, Host, Server
from app.publisher import publisher
from app.store import hosts
from app.store.database import reading
from app.tasks import messages
from app.tasks.board import AWAY
from app.tasks.workflow import WORKFLOWS
from app.topology import topology

log = logs.get(__name__)


def control(app: Celery, stage: str, argument: Any) -> Signature:
    """The signature of a control task."""
    name = f"novella.{stage}"
    return app.signature(name, args=(argument,), immutable=True, queue=topology().queue(name))


def control_queue(stage: str) -> str:
    """The queue of a control task."""
    return topology().queue(f"novella.{stage}")


def on_host(app: Celery, stage: str, message: dict[str, Any]) -> Signature:
    """The signature of a host's task; its secrets stay out of logs, events and Flower."""
    name = f"novella.{stage}"
    return app.signature(
        name,
        args=(message,),
        immutable=True,
        queue=topology().queue(name, message["host"]),
        argsrepr=f"({message['kind']} {message['server_id']} fence {message['key']['fence']},)",
        kwargsrepr="{}",
        **broker.publishing_options(settings().broker_url),
    )


def settle(app: Celery, task_id: str | None = None) -> Signature:
    """The signature that takes a host's outcome; `task_id` makes it the pollable task."""
    made = app.signature("novella.settle", queue=topology().queue("novella.settle"))
    made.set(argsrepr="(outcome,)", kwargsrepr="{}")
    return made.set(task_id=task_id) if task_id else made


def networking(app: Celery, message: dict[str, Any]) -> Signature:
    """The chain that tells a host its guests' networking, and notes how far it got."""
    host = message["host"]
    told = app.signature(
        "novella.networks",
        args=(message,),
        immutable=True,
        queue=topology().queue("novella.networks", host),
        argsrepr=f"(networking of {host} at {message['networking']['revision']},)",
        kwargsrepr="{}",
    )
    noted = app.signature("novella.networked", queue=topology().queue("novella.networked"))
    return chain(told, noted, app=app)


def precaching(app: Celery, message: dict[str, Any]) -> Signature:
    """The chain that has a host fetch an image ahead of builds, and notes how it went."""
    host, image_id = message["host"], message["image"]["id"]
    told = app.signature(
        "novella.precache",
        args=(message,),
        immutable=True,
        queue=topology().queue("novella.precache", host),
        argsrepr=f"(image {image_id} for {host})",
        kwargsrepr="{}",
        **broker.publishing_options(settings().broker_url),
    )
    noted = app.signature("novella.precached", queue=topology().queue("novella.precached"))
    return chain(told, noted, app=app)


def ring(actions: Sequence[Action]) -> None:
    """Send the first chain of freshly accepted actions. Never raises: the sweep rings again."""
    if not settings().chain or not actions:
        return
    try:
        first = actions[0]
        if first.kind == "create":
            _send(_placing(publisher(), first.request_id, [action.id for action in actions]))
            return
        for action in actions:
            if action.finished_at is None:
                _send(_first_on_host(publisher(), action))
    except (*AWAY, Bug) as error:
        log.warning("could not ring; the sweep will", task_id=first.id, error=str(error))


def _placing(app: Celery, request_id: str, action_ids: list[str]) -> Signature:
    """schedule | claim, and for one server also settle, under the action's own id."""
    steps = [control(app, "schedule", request_id), control(app, "claim", request_id)]
    if len(action_ids) == 1:
        steps.append(settle(app, action_ids[0]))
    return chain(*steps, app=app)


def _first_on_host(app: Celery, action: Action) -> Signature | None:
    with reading() as session:
        found = session.get(Action, action.id)
        server = session.get(Server, action.server_id)
        if found is None or server is None:
            return None
        made = host_stage(session, app, found, server)
    return made and chain(made, settle(app, action.id), app=app)


def host_stage(session: Any, app: Celery, action: Action, server: Server) -> Signature | None:
    """The signature of the host stage that the action stands at; None while the host is away.

    None also while its worker is too old for it, or knows no message version that is spoken here.
    """
    host = hosts.get(session, action.host) if action.host else None
    if host is None or not reachable(host) or not messages.can_do(session, action, server, host):
        return None
    return on_host(app, action.stage, messages.for_stage(session, action, server, host))


def reachable(host: Host) -> bool:
    """Whether messages to the host make sense: its worker lives and its driver answers."""
    return host.state in (hosts.UP, hosts.RECONCILING)


def is_on_host(action: Action) -> bool:
    """Whether the stage that the action stands at is done by a host."""
    step = WORKFLOWS[action.kind].step(action.stage)
    return step.on_host


def _send(signature: Signature | None) -> None:
    if signature is not None:
        signature.apply_async()
