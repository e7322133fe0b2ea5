"""Accepting requests: one transaction, the rings after it, and the same answer to a repeat."""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.fernet import Fernet, MultiFernet
from flask import Response, request
from sqlalchemy.orm import Session

from app import logs
from app.errors import Invalid
from app.models import Action
from app.store import idempotency
from app.store.database import transaction
from app.store.idempotency import Answered, Asked
from app.tasks import publish
from app.web import context
from app.web.body import raw

log = logs.get(__name__)
HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"


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
        for number, action in enumerate(self.actions):
            if number == 0:
                made.headers["X-Task-Id"] = action.id
            made.headers.add("Link", f'</v1/tasks/{action.id}>; rel="task"')
        return made


def accept(work: Callable[[Session], Accepted]) -> Response:
    """Run `work` in one transaction and ring what it accepted; or repeat an earlier answer.

    The answer is kept in that same transaction, and only when there is one: errors are not.
    """
    asked = _asked()
    with transaction() as session:
        if asked is not None:
            earlier = idempotency.begin(session, asked)
            if earlier is not None:
                return _replay(earlier)
        accepted = work(session)
        response = accepted.response()
        if asked is not None:
            idempotency.keep(session, asked, _kept(response))
    for action in reversed(accepted.actions):
        logs.bind(server_id=action.server_id, task_id=action.id)
        log.info("accepted", kind=action.kind)
    publish.ring(accepted.actions)
    return response


def _asked() -> Asked | None:
    key = request.headers.get(HEADER)
    if key is None or request.method != "POST":
        return None
    if not 1 <= len(key) <= 255:
        raise Invalid(f"The header {HEADER} must have 1 to 255 characters.")
    content = raw() + f"\n{context.version()}".encode()
    return Asked(
        project_id=context.caller().project_id,
        key=key,
        method=request.method,
        path=re.sub(r"/+$", "", request.path),
        body_hash=hashlib.sha256(content).hexdigest(),
    )


def _kept(response: Response) -> Answered:
    # Encrypted, for it may hold a password; the request's own id stays its own.
    headers = {
        "Location": response.headers.get("Location", ""),
        "X-Task-Id": response.headers.get("X-Task-Id", ""),
        "Link": ", ".join(response.headers.getlist("Link")),
    }
    return Answered(
        response.status_code,
        {name: value for name, value in headers.items() if value},
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
    """The newest signing key encrypts, all decrypt; each is stretched for this use alone."""
    return MultiFernet(
        [
            Fernet(
                urlsafe_b64encode(hashlib.sha256(f"novella.idempotency:{key}".encode()).digest())
            )
            for key in context.web().keys.current()
        ]
    )
