"""Labels on servers: an action that sets one, a resource that lists them, a field that shows them.

And a power cycle, an action that asks for work which the cloud knows already. A label is kept in
the server's metadata, so there is no table to be made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Server
from app.store import server_metadata
from app.web.extending import (
    Action,
    Asked,
    Field,
    Resource,
    Route,
    Rule,
    Schema,
    answer,
    body,
    caller,
    nothing,
    only,
    reading,
    takes,
    transaction,
)

KEY = "acme:label"
TEXT = {"type": "string", "minLength": 1, "maxLength": 40}
READERS, MEMBERS = "rule:project_reader_or_admin", "rule:project_member_or_admin"


def _label(asked: Asked) -> dict[str, Any]:
    server_metadata.merge(asked.session, asked.caller, asked.server.id, {KEY: asked.value["label"]})
    return {"label": asked.value["label"]}


LABEL = Action(
    name="acme:label",
    rule=Rule("acme:servers:label", MEMBERS),
    schema=only({"label": TEXT}),
    perform=_label,
)


def _power_cycle(asked: Asked) -> None:
    asked.start("reboot", type="HARD")


POWER_CYCLE = Action(
    name="acme:power-cycle",
    rule=Rule("acme:servers:power-cycle", "rule:project_manager_or_admin"),
    schema={"type": "null"},
    perform=_power_cycle,
)

NEW_LABEL = Schema("AcmeLabel", only({"label": TEXT}))


class Labels(Route):
    """All labels of the project."""

    policy = {"get": "acme:labels:list"}

    def get(self) -> Any:
        """List the project's servers by their labels."""
        wanted = select(Server.id, Server.meta).where(
            Server.project_id == caller().project_id, Server.deleted_at.is_(None)
        )
        with reading() as session:
            rows = session.execute(wanted.order_by(Server.id)).all()
        shown = [{"server_id": row.id, "label": row.meta[KEY]} for row in rows if KEY in row.meta]
        return answer({"acme_labels": shown})


class Label(Route):
    """One server's label."""

    policy = {"put": "acme:servers:label", "delete": "acme:servers:label"}

    @takes(NEW_LABEL)
    def put(self, server_id: str) -> Any:
        """Label a server."""
        label = body(NEW_LABEL)["label"]
        with transaction() as session:
            server_metadata.merge(session, caller(), server_id, {KEY: label})
        return answer({"label": label})

    def delete(self, server_id: str) -> Any:
        """Take a server's label off."""
        with transaction() as session:
            server_metadata.remove(session, caller(), server_id, KEY)
        return nothing()


LABELS = Resource(
    routes={"/acme-labels": Labels, "/servers/<server_id>/acme-label": Label},
    rules=(Rule("acme:labels:list", READERS), Rule("acme:servers:label", MEMBERS)),
)


def _labels(session: Session, servers: Sequence[Server]) -> Mapping[str, Any]:
    return {server.id: server.meta[KEY] for server in servers if KEY in server.meta}


SHOWN = Field(
    name="acme:label",
    rule=Rule("acme:servers:show:label", READERS),
    schema=TEXT,
    values=_labels,
)
