"""Web's synchronous host calls: they read, and wait for the host five seconds at most."""

from __future__ import annotations

import uuid
from typing import Any

from app.domain.guest import Diagnostics, DiskUse, NicUse
from app.domain.message import known
from app.errors import Conflict, Unavailable
from app.models import Host
from app.publisher import publisher
from app.tasks import board
from app.topology import topology

SECONDS = 5.0


def console(host: Host, server_id: str, lines: int | None) -> str:
    """The last `lines` lines of the server's serial console. Raises Unavailable."""
    return str(_ask("console", host, server_id, lines=lines)["text"])


def has_agent(host: Host, server_id: str) -> bool:
    """Whether the agent in the server's guest answers. Raises Unavailable."""
    return bool(_ask("has_agent", host, server_id)["found"])


def diagnostics(host: Host, server_id: str) -> Diagnostics:
    """What the server's guest uses. Raises Conflict when it is off; Unavailable."""
    told = _ask("diagnostics", host, server_id)
    if told.get("code") == "not_running":
        raise Conflict(f"Instance {server_id} does not run: it has no diagnostics")
    return known(
        Diagnostics,
        told["found"],
        cpu_times=tuple(told["found"]["cpu_times"]),
        disks=tuple(known(DiskUse, disk) for disk in told["found"]["disks"]),
        nics=tuple(known(NicUse, nic) for nic in told["found"]["nics"]),
    )


def _ask(what: str, host: Host, server_id: str, **more: Any) -> dict[str, Any]:
    """The host's answer. Raises Unavailable when none comes, or an error does but "not_running"."""
    request_id = str(uuid.uuid4())
    request = {
        "id": request_id,
        "host": host.name,
        "host_uuid": host.uuid,
        "server_id": server_id,
        **more,
    }
    name = f"novella.{what}"
    try:
        publisher().send_task(
            name, args=(request,), queue=topology().queue(name, host.name), expires=SECONDS + 5.0
        )
        answer = board.await_answer(request_id, SECONDS)
    except board.AWAY as error:
        raise Unavailable("the message broker is away; try again later") from error
    if answer is None:
        raise Unavailable(f"the host of server {server_id} did not answer in {SECONDS:.0f} s")
    if "error" in answer and answer.get("code") != "not_running":
        raise Unavailable(f"{what} of server {server_id}: {answer['error']}")
    return answer
