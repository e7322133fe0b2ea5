"""Accepting requests: one transaction, the rings after it, and the same answer to a repeat."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.fernet import MultiFernet
from flask import Response, request
from sqlalchemy.orm import Session

from app import logs
from app.errors import Invalid
from app.failpoints import reach
from app.models import Action
from app.sealing import cipher
from app.store import idempotency
from app.store.database import reading, transaction
from app.store.idempotency import Answered, Asked
from app.tasks import publish
from app.web import context
from app.web.body import raw

log = logs.get(__name__)
HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
LINKS = 20
"""Tasks that an answer links to; where there are more, also to the list of all."""


@dataclass(frozen=True)
class Accepted:
    """An answer that promises work: what was accepted, and how it is told."""

    actions: Sequence[Action]
    status: int = 202
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """With the tasks that it starts in its headers."""
        made = Response(self.body, status=self.status, mimetype="application/json")
        if not self.body:
            made.headers.pop("Content-Type", None)
        made.headers.update(self.headers)
        if self.actions:
            made.headers["X-Task-Id"] = self.actions[0].id
            made.headers["Link"] = _links(self.actions)
        return made


def _links(actions: Sequence[Action]) -> str:
    """The tasks, in one header: clients take a hundred headers at most, proxies a few kilobytes."""
    links = [f'</v1/tasks/{action.id}>; rel="task"' for action in actions[:LINKS]]
    if len(actions) > LINKS:
        links.append(f'</v1/tasks?request_id={actions[0].request_id}>; rel="collection"')
    return ", ".join(links)


def accept(work: Callable[[Session], Accepted]) -> Response:
    """Run `work` in one transaction and ring what it accepted; or repeat an earlier answer."""
    actions: list[Action] = []

    def answered(session: Session) -> Response:
        accepted = work(session)
        actions.extend(accepted.actions)
        return accepted.response()

    response = once(answered)
    for action in reversed(actions):
        logs.bind(server_id=action.server_id, task_id=action.id)
        log.info("accepted", kind=action.kind)
    reach("accept.committed")
    publish.ring(actions)
    return response


def once(work: Callable[[Session], Response]) -> Response:
    """Run `work` in one transaction, or repeat the answer that stands under the request's key.

    The answer is kept in that same transaction, and only when there is one: errors are not.
    """
    asked = _asked()
    with transaction() as session:
        if asked is not None:
            told = idempotency.begin(session, asked)
            if told is not None:
                return _replay(told)
        response = work(session)
        if asked is not None:
            idempotency.keep(session, asked, _kept(response))
    return response


def earlier() -> Response | None:
    """The answer that stands under the request's key, before anything is looked at: what the
    first request changed must not make its repeat fail."""
    asked = _asked()
    if asked is None:
        return None
    with reading() as session:
        told = idempotency.standing(session, asked)
    return None if told is None else _replay(told)


def _asked() -> Asked | None:
    key = request.headers.get(HEADER)
    if key is None or request.method != "POST":
        return None
    if not 1 <= len(key) <= 255:
        raise Invalid(f"The header {HEADER} must have 1 to 255 characters.")
    caller = context.caller()
    # An answer may hold a secret of the user's: nobody else gets it, of the same project neither.
    content = raw() + f"\n{context.version()}\n{caller.user_id}".encode()
    return Asked(
        project_id=caller.project_id or caller.user_id,
        key=key,
        method=request.method,
        path=re.sub(r"/+$", "", request.path),
        body_hash=hashlib.sha256(content).hexdigest(),
    )


def _kept(response: Response) -> Answered:
    # Encrypted, for it may hold a password; the request's own id stays its own.
    names = {name for name, _ in response.headers} - {"Content-Type", "Content-Length"}
    return Answered(
        response.status_code,
        {name: ", ".join(response.headers.getlist(name)) for name in sorted(names)},
        _cipher().encrypt(response.get_data()).decode(),
    )


def _replay(answered: Answered) -> Response:
    made = Response(
        _cipher().decrypt(answered.body.encode()),
        status=answered.status,
        mimetype="application/json",
    )
    if not made.get_data():
        made.headers.pop("Content-Type", None)
    made.headers.update(answered.headers)
    made.headers[REPLAYED] = "true"
    return made


def _cipher() -> MultiFernet:
    return cipher(context.web().keys.current(), "idempotency")
