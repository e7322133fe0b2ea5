"""Requests on a test cloud's own rows and queues, as web makes them, without HTTP."""

from __future__ import annotations

import functools
import uuid
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.config import settings
from app.domain.caller import Caller
from app.domain.new_servers import FlavorCopy, NewServers, WantedNic
from app.domain.resources import Resources
from app.models import Image, Project, User
from app.publisher import publisher
from app.store import database, servers
from app.tasks import board, publish
from app.tasks.control.live_table import live_table
from tests.cloud import Cloud

SMALL = FlavorCopy("6", "tiny", Resources(1, 192, 1))


def adopt(cloud: Cloud, monkeypatch: object) -> None:
    """Make this process one of the cloud's: its settings, engine and publisher."""
    for name, value in cloud.env().items():
        if name.startswith("NOVELLA_"):
            monkeypatch.setenv(name, value)  # type: ignore[attr-defined]
    forget_process_state()


def forget_process_state() -> None:
    """Let the next use read settings, database and broker anew."""
    for cached in (settings, database.engine, database._reading_engine, publisher, board.client):
        cached.cache_clear()
    live_table.cache_clear()


def caller(cloud: Cloud, name: str = "novella") -> Caller:
    """The cloud's member."""
    with Session(cloud.engine) as session:
        user = session.scalars(select(User).where(User.name == name)).one()
        project = session.scalars(select(Project).where(Project.name == name)).one()
    roles = frozenset({"admin"} if name == "admin" else {"member", "reader"})
    return Caller(user.id, project.id, roles, f"req-{uuid.uuid4()}")


@functools.cache
def _content() -> bytes:
    return b"QFI\xfb" + bytes(1020)


def add_image(cloud: Cloud, owner: str, path: Path | None = None) -> str:
    """An active image's row (for drivers that do not download), or of the file `path`."""
    import hashlib

    content = path.read_bytes() if path else _content()
    image = Image(
        id=str(uuid.uuid4()),
        name="tiny",
        owner=owner,
        status="active",
        visibility="public",
        disk_format="qcow2",
        container_format="bare",
        size=len(content),
        virtual_size=32 << 20,
        hash_algorithm="sha512",
        hash_value=hashlib.sha512(content).hexdigest(),
    )
    with Session(cloud.engine) as session, session.begin():
        session.add(image)
        session.flush()
        return str(image.id)


def create(
    cloud: Cloud,
    who: Caller,
    image_id: str,
    count: int = 1,
    ring: bool = True,
    **more: object,
) -> list[tuple[str, str]]:
    """Accept and ring new servers; (server id, action id) of each."""
    fields: dict[str, object] = {
        "name": "vm",
        "flavor": SMALL,
        "image_id": image_id,
        "nics": (WantedNic(cloud.default_network()),),
        "min_count": count,
        "max_count": count,
    }
    wanted = NewServers(**(fields | more))  # type: ignore[arg-type]
    with database.transaction() as session:
        accepted = servers.create(session, who, wanted)
    if ring:
        publish.ring(accepted)
    return [(action.server_id, action.id) for action in accepted]


def request(who: Caller, server_id: str, kind: str, ring: bool = True, **args: object) -> str:
    """Accept and ring a request on a server; the action's id."""
    asker = Caller(who.user_id, who.project_id, who.roles, f"req-{uuid.uuid4()}")
    with database.transaction() as session:
        action = servers.request(session, asker, server_id, kind, dict(args))
    if ring:
        publish.ring([action])
    return action.id
