"""A host's tasks. Each takes a message and returns an outcome; none raises for the field's woes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from celery import shared_task
from celery.exceptions import Ignore

from app import logs
from app.domain.message import OLDEST, VERSION, host_message, to_message
from app.errors import HostFault, Invalid
from app.failpoints import reach
from app.tasks import board
from app.tasks.host.agent import AGENTS
from app.tasks.workflow import HOST_EFFECTS
from app.virt.driver import Driver

log = logs.get(__name__)
ANSWER_SECONDS = 30


def _stage(data: dict[str, Any]) -> dict[str, Any]:
    try:
        message = host_message(data)
    except Invalid as error:
        log.warning("message refused", reason=error.message, code=error.code)
        raise Ignore from error
    agent = AGENTS.get(message.host)
    if agent is None:
        raise Ignore
    ids = {
        "request_id": message.request_id,
        "server_id": message.server_id,
        "task_id": message.key.action_id,
    }
    with logs.bound(**ids):
        log.info("received", stage=message.key.stage, fence=message.key.fence, host=message.host)
        outcome = agent.handle(message)
        if outcome is None:
            raise Ignore
        log.info("done", stage=message.key.stage, result=outcome.result)
        # As it was asked: whoever sent that message reads this answer.
        return to_message(replace(outcome, version=message.version))


for _name in HOST_EFFECTS:
    shared_task(name=f"novella.{_name}")(_stage)


@shared_task(name="novella.networks")
def networks(message: dict[str, Any]) -> dict[str, Any]:
    """Put a host's networking into force; answers with the revision that it is at, or a fault."""
    agent = AGENTS.get(message["host"])
    if agent is None or message.get("version") not in range(OLDEST, VERSION + 1):
        raise Ignore
    reach("networks.before")
    told = agent.secure(message)
    if told is None:
        raise Ignore
    reach("networks.after")
    return told


@shared_task(name="novella.precache")
def precache(message: dict[str, Any]) -> dict[str, Any]:
    """Fetch an image into this host's cache; answers how that went."""
    agent = AGENTS.get(message["host"])
    if agent is None or message.get("version") not in range(OLDEST, VERSION + 1):
        raise Ignore
    reach("precache.before")
    with logs.bound(request_id=message["request_id"]):
        told = agent.precache(message)
    if told is None:
        raise Ignore
    reach("precache.after")
    return told


@shared_task(name="novella.console")
def console(request: dict[str, Any]) -> None:
    """Answer a read of a console log."""
    _answer(
        request,
        lambda driver: {"text": driver.console_log(request["server_id"], request["lines"])},
    )


@shared_task(name="novella.diagnostics")
def diagnostics(request: dict[str, Any]) -> None:
    """Answer what a guest uses."""
    _answer(request, lambda driver: {"found": asdict(driver.diagnostics(request["server_id"]))})


@shared_task(name="novella.has_agent")
def has_agent(request: dict[str, Any]) -> None:
    """Answer whether a guest's agent does."""
    _answer(request, lambda driver: {"found": driver.has_agent(request["server_id"])})


def _answer(request: dict[str, Any], read: Callable[[Driver], dict[str, Any]]) -> None:
    """Answer into a Redis key that lives for seconds; whoever asked stops waiting soon."""
    agent = AGENTS.get(request["host"])
    if agent is None or not agent.ready.is_set() or agent.uuid != request["host_uuid"]:
        return
    try:
        answer = read(agent.driver)
    except HostFault as error:
        answer = {"error": error.message, "code": error.code}
    board.answer(request["id"], answer, ANSWER_SECONDS)
