"""The ring: what is due is sent again, one message a request and stage, within limits.

Copies are harmless: taking a due row moves its next ring on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Signature, chain, current_app
from sqlalchemy.orm import Session

from app import logs
from app.domain.message import Fault
from app.errors import NovellaError
from app.models import Action, Host, Image, Precache, Server
from app.store import host_networking, hosts, plans, precaches, ringing
from app.store.database import reading, transaction
from app.tasks import messages, metering, publish
from app.tasks.control.backlog import Backlog
from app.tasks.workflow import BUILDS, COPIES

log = logs.get(__name__)
HELD_BACK_SECONDS = 5.0
"""Until what was not sent for want of room, in a queue or at a host, is looked at again."""
_BROKEN = (NovellaError, AttributeError, LookupError, TypeError, ValueError)
"""What rows that no message can be made of raise. What the database raises is none of these."""

Requests = dict[tuple[str, str], list[str]]
ForHosts = list[tuple[str, str, Signature]]


def ring_due(backlog: Backlog) -> None:
    """Send what is due. Raises one of AWAY when the broker is; what was not sent stays due.

    Hosts are not rung while their outcomes wait in a long queue: a host would tell its outcome
    once more, and the queue would grow by every ring.
    """
    outcomes_wait = backlog.is_long(publish.control_queue("settle"))
    with transaction() as session:
        requests, for_hosts, held_back = _take(session, with_hosts=not outcomes_wait)
    for stage, request_id in list(requests):
        if backlog.is_long(publish.control_queue(stage)):
            held_back += requests.pop((stage, request_id))
    if held_back:
        with transaction() as session:
            ringing.not_sent(session, held_back, HELD_BACK_SECONDS)
    _send(requests, for_hosts)


def _take(session: Session, *, with_hosts: bool) -> tuple[Requests, ForHosts, list[str]]:
    """What is due, by control stage and request; for hosts; and what is held back from them."""
    requests: Requests = {}
    for_hosts: ForHosts = []
    held_back: list[str] = []
    reachable = ringing.names_in_state(session, (hosts.UP, hosts.RECONCILING))
    due = ringing.due_actions(session, reachable)
    on_host = [pair for pair in due if publish.is_on_host(pair[0])]
    there = [action for action, _ in on_host] if with_hosts else []
    sendable = ringing.dispatchable(session, there, BUILDS, ringing.DISPATCHED)
    sendable &= ringing.dispatchable(session, there, COPIES, ringing.DISPATCHED_COPIES)
    ahead = [pair for pair in on_host if pair[0].id in sendable]
    plans.look_ahead(session, ahead, messages.NEEDS_PLAN)
    for action, server in due:
        if not publish.is_on_host(action):
            requests.setdefault((action.stage, action.request_id), []).append(action.id)
        elif action.id in sendable:
            with _each_alone(server_id=server.id, task_id=action.id, stage=action.stage):
                message = publish.host_stage(session, current_app, action, server)
                for_hosts += [(action.id, action.stage, message)] if message else []
                if message is None:
                    _say_why(session, action, server)
        else:
            held_back.append(action.id)
    if with_hosts:
        for_hosts += _for_cleanups(session, reachable)
    return requests, for_hosts, held_back


def _say_why(session: Session, action: Action, server: Server) -> None:
    """Let an action tell that its host is too old for it."""
    host = hosts.get(session, action.host) if action.host else None
    if host is None or not publish.reachable(host):
        return
    text = f"waiting: {messages.too_old(host)}"
    if action.message != text and not messages.can_do(session, action, server, host):
        action.message, action.revision = text, action.revision + 1


def _for_cleanups(session: Session, reachable: list[str]) -> ForHosts:
    """(id, what it counts as, message) of each cleanup whose ring is due."""
    made = []
    for cleanup in ringing.due_cleanups(session, reachable):
        host = session.get(Host, cleanup.host)
        if host is not None and messages.understands(host):
            with _each_alone(server_id=cleanup.server_id, host=host.name):
                message = messages.for_cleanup(session, cleanup, host)
                stage = publish.on_host(current_app, "destroy", message)
                made.append((cleanup.id, metering.CLEANUP, stage))
    return made


@contextmanager
def _each_alone(**ids: str) -> Iterator[None]:
    """One message that cannot be made must not keep all others back: its deadline ends it."""
    try:
        yield
    except _BROKEN:
        log.exception("no message can be made; others are sent", **ids)


def _send(requests: Requests, for_hosts: ForHosts) -> None:
    unsent = {one for ids in requests.values() for one in ids} | {one[0] for one in for_hosts}
    rung: list[str] = []
    try:
        for (stage, request_id), ids in sorted(requests.items()):
            publish.control(current_app, stage, request_id).apply_async()
            unsent -= set(ids)
            rung += [stage] * len(ids)
        for row_id, stage, message in for_hosts:
            chain(message, publish.settle(current_app), app=current_app).apply_async()
            unsent.discard(row_id)
            rung.append(stage)
    finally:
        if unsent:
            with transaction() as session:
                ringing.not_sent(session, sorted(unsent))
    metering.count_rings(rung)


def ring_networking() -> None:
    """Tell the hosts that are behind what their guests' networking is to be.

    Raises one of AWAY when the broker is away; who was not told stays behind.
    """
    with transaction() as session:
        reachable = ringing.names_in_state(session, (hosts.UP, hosts.RECONCILING))
        chains = []
        for name in host_networking.due(session, reachable):
            host = session.get(Host, name)
            if host is not None and messages.guards(host):
                with _each_alone(host=name):
                    message = messages.for_networking(session, host)
                    chains.append((name, publish.networking(current_app, message)))
    unsent = [name for name, _ in chains]
    try:
        for name, made in chains:
            made.apply_async()
            unsent.remove(name)
    finally:
        if unsent:
            with transaction() as session:
                host_networking.not_sent(session, unsent)


def ring_precaches(backlog: Backlog) -> None:
    """Have hosts fetch the images that they were asked to have ahead of builds.

    Raises one of AWAY when the broker is away; what was not sent stays due.
    """
    with reading() as session:
        if not precaches.any_waiting(session):
            return
        reachable = ringing.names_in_state(session, (hosts.UP, hosts.RECONCILING))
        due = precaches.due(session, reachable)
    if not due:
        return  # nobody who writes has to wait for the look
    if backlog.is_long(publish.control_queue("precached")):
        return
    with transaction() as session:
        chains = [
            (row.id, message)
            for row in precaches.take(session, due)
            if (message := _for_precache(session, row)) is not None
        ]
    unsent = [row_id for row_id, _ in chains]
    try:
        for row_id, message in chains:
            publish.precaching(current_app, message).apply_async()
            unsent.remove(row_id)
    finally:
        if unsent:
            with transaction() as session:
                precaches.not_sent(session, unsent)


def _for_precache(session: Session, row: Precache) -> dict[str, Any] | None:
    """The row's message; None for a host that is too old for it, and where the image is gone."""
    host, image = session.get(Host, row.host), session.get(Image, row.image_id)
    if image is None or image.status != "active":
        precaches.give_up(session, row, Fault("image_gone", "the image is not active any more"))
        return None
    if host is not None and messages.precaches(host):
        with _each_alone(host=row.host, request_id=row.request_id):
            return messages.for_precache(session, row, host, image)
    return None
