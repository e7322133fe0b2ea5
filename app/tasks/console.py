"""Web's one synchronous host call: read a console log, in five seconds at most."""

from __future__ import annotations

import uuid

from app.celery import publisher
from app.errors import Unavailable
from app.tasks import board
from app.topology import topology


def read(host: str, host_uuid: str, server_id: str, lines: int | None, timeout: float = 5.0) -> str:
    """The last `lines` lines of the server's serial console.

    Raises Unavailable when the host does not answer within `timeout` seconds.
    """
    request_id = str(uuid.uuid4())
    request = {
        "id": request_id,
        "host": host,
        "host_uuid": host_uuid,
        "server_id": server_id,
        "lines": lines,
    }
    name = "novella.console"
    try:
        publisher().send_task(
            name, args=(request,), queue=topology().queue(name, host), expires=timeout + 5.0
        )
        answer = board.await_answer(request_id, timeout)
    except board.AWAY as error:
        raise Unavailable("the message broker is away; try again later") from error
    if answer is None:
        raise Unavailable(f"the host of server {server_id} did not answer in {timeout:.0f} s")
    if "error" in answer:
        raise Unavailable(f"console of server {server_id}: {answer['error']}")
    return str(answer["text"])
