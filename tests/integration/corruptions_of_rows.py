"""Ways to break rows behind the doctor's back. Each gives what undoes it, where --fix does not."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, text, update

from app.models import Action, Allocation, Cleanup, Host, Port, Server
from tests.asking import caller
from tests.cloud import Cloud

GHOST = "00000000-0000-4000-8000-00000000dead"
UNKNOWN_HOST = "n-gone"


@dataclass
class Patient:
    """A cloud with a server that lives on each host, and one that was deleted."""

    cloud: Cloud
    image_id: str
    server_id: str
    deleted_id: str

    @property
    def server(self) -> Server:
        """The server that lives."""
        return self.cloud.server(self.server_id)

    @property
    def host(self) -> str:
        """Where it lives."""
        return str(self.server.host)

    def sql(self, statement: Any, **values: Any) -> None:
        """Change rows behind everybody's back, foreign keys or not."""
        given = text(statement) if isinstance(statement, str) else statement
        with self.cloud.engine.connect() as connection:
            plain = connection.connection
            plain.cursor().execute("PRAGMA foreign_keys=OFF")
            with connection.begin():
                connection.execute(given, values)
            plain.cursor().execute("PRAGMA foreign_keys=ON")

    def one(self, statement: Any) -> Any:
        """The first value."""
        return self.cloud.scalars(statement)[0]


Undo = Callable[[], object] | None


def used_too_high(on: Patient) -> Undo:
    on.sql("UPDATE hosts SET used_ram_mb = used_ram_mb + 512 WHERE name = 'n1'")
    return None


def servers_miscounted(on: Patient) -> Undo:
    on.sql("UPDATE hosts SET servers = servers + 3 WHERE name = 'n1'")
    return None


def allocation_lost(on: Patient) -> Undo:
    on.sql("DELETE FROM allocations WHERE server_id = :id", id=on.server_id)
    return None


def allocation_too_big(on: Patient) -> Undo:
    on.sql("UPDATE allocations SET vcpus = 9 WHERE server_id = :id", id=on.server_id)
    return None


def allocation_of_a_deleted_server(on: Patient) -> Undo:
    values = {"server_id": on.deleted_id, "host": "n1", "vcpus": 1, "ram_mb": 192, "disk_gb": 1}
    on.sql(insert(Allocation).values(values))
    return None


def allocation_of_no_server(on: Patient) -> Undo:
    values = {"server_id": GHOST, "host": "n2", "vcpus": 1, "ram_mb": 192, "disk_gb": 1}
    on.sql(insert(Allocation).values(values))
    return None


def host_shrunk(on: Patient) -> Undo:
    before = on.one(select(Host.cpu_ratio).where(Host.name == on.host))
    on.sql(update(Host).where(Host.name == on.host).values(cpu_ratio=0.001))
    return lambda: on.sql(update(Host).where(Host.name == on.host).values(cpu_ratio=before))


def task_state_that_nobody_clears(on: Patient) -> Undo:
    on.sql(update(Server).where(Server.id == on.server_id).values(task_state="powering-off"))
    return None


def action_of_a_deleted_server(on: Patient) -> Undo:
    add_action(on, on.deleted_id, due=500)  # so that no ring ends it before
    return None


def ring_put_off_for_hours(on: Patient) -> Undo:
    add_action(on, on.server_id, due=7200)
    on.sql(update(Server).where(Server.id == on.server_id).values(task_state="powering-off"))
    return None


def add_action(on: Patient, server_id: str, due: float) -> None:
    """An unfinished stop of the server, to be rung in `due` seconds."""
    who, at = caller(on.cloud), time.time()
    on.sql(
        insert(Action).values(
            id=str(uuid.uuid4()),
            server_id=server_id,
            project_id=who.project_id,
            user_id=who.user_id,
            request_id="req-lost",
            kind="stop",
            state="running",
            stage="stop",
            host=on.host,
            args={},
            next_ring_at=at + due,
            deadline=at + 9000,
            created_at=at,
        )
    )


def quota_counted_wrong(on: Patient) -> Undo:
    on.sql("UPDATE quota_usages SET in_use = in_use + 3 WHERE resource = 'instances'")
    return None


def port_of_a_deleted_server(on: Patient) -> Undo:
    add_port(on, on.deleted_id, "10.77.9.9")
    return None


def port_of_no_server(on: Patient) -> Undo:
    add_port(on, None, "10.77.9.10")
    return None


def add_port(on: Patient, server_id: str | None, address: str) -> None:
    port = on.one(select(Port).where(Port.server_id == on.server_id))
    on.sql(
        insert(Port).values(
            id=str(uuid.uuid4()),
            project_id=port.project_id,
            network_id=port.network_id,
            subnet_id=port.subnet_id,
            server_id=server_id,
            mac=f"fa:16:3e:00:00:{int(address.rpartition('.')[2]):02x}",
            address=address,
        )
    )


def address_outside_its_subnet(on: Patient) -> Undo:
    mine = Port.server_id == on.server_id
    before = on.one(select(Port.address).where(mine))
    on.sql(update(Port).where(mine).values(address="192.0.2.9"))
    return lambda: on.sql(update(Port).where(mine).values(address=before))


def port_lost(on: Patient) -> Undo:
    port = on.one(select(Port).where(Port.server_id == on.server_id))
    values = {column.name: getattr(port, column.name) for column in Port.__table__.columns}
    on.sql("DELETE FROM ports WHERE server_id = :id", id=on.server_id)
    return lambda: on.sql(insert(Port).values(values))


def cleanup_of_a_host_that_is_gone(on: Patient) -> Undo:
    values = {"id": str(uuid.uuid4()), "server_id": on.deleted_id, "host": UNKNOWN_HOST}
    on.sql(insert(Cleanup).values(values | {"fence": 9, "next_ring_at": time.time()}))
    return None


def host_that_never_speaks(on: Patient) -> Undo:
    row = on.one(select(Host).where(Host.name == "n1"))
    values = {column.name: getattr(row, column.name) for column in Host.__table__.columns}
    used = {"used_vcpus": 0, "used_ram_mb": 0, "used_disk_gb": 0}
    on.sql(insert(Host).values(values | used | {"name": UNKNOWN_HOST, "uuid": GHOST, "number": 99}))
    return lambda: on.sql("DELETE FROM hosts WHERE name = :name", name=UNKNOWN_HOST)


def schema_of_another_release(on: Patient) -> Undo:
    before = on.one(text("SELECT version_num FROM alembic_version"))
    on.sql("UPDATE alembic_version SET version_num = '0001'")
    return lambda: on.sql("UPDATE alembic_version SET version_num = :v", v=before)
