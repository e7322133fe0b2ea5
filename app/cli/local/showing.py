"""What `bin/up` tells: the state of everything, and where to go next."""

from __future__ import annotations

import shlex
import sys
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.cli.local.cloud import LocalCloud
from app.cli.local.files import secret
from app.cli.local.place import Place, checkout
from app.cli.local.processes import show_processes
from app.cli.local.supervisor import Supervisor
from app.cli.output import console, print_table
from app.config import load
from app.store import hosts_admin
from app.store.database import make_engine


def show_status(place: Place) -> bool:
    """Print each process and each host; True when all of them are well."""
    supervisor = Supervisor(place)
    if not supervisor.alive():
        console().print(f"the cloud in {place.state} is down: start it with bin/up", markup=False)
        return False
    processes_well = show_processes(place, supervisor.processes())
    hosts = host_states(load({"NOVELLA_CONFIG": str(place.config)}).database)
    console().print()
    print_table(
        ("host", "state", "servers", "seen"),
        [
            {
                "host": one["name"],
                "state": one["state"],
                "servers": one["servers"],
                "seen": f"{one['seconds_since_seen']:.0f} s ago",
            }
            for one in hosts
        ],
    )
    return processes_well and bool(hosts) and all(one["state"] == "up" for one in hosts)


def host_states(database_url: str) -> list[dict[str, Any]]:
    """All hosts as the database knows them; none when it cannot be read."""
    engine = make_engine(database_url).execution_options(reading=True)
    try:
        with Session(engine) as session:
            if not inspect(engine).has_table("hosts"):
                return []
            return hosts_admin.overview(session)
    except SQLAlchemyError:
        return []
    finally:
        engine.dispose()


def show_passwords(cloud: LocalCloud) -> None:
    """The new cloud's passwords, to a person only: what is piped may end in a log."""
    place = cloud.place
    where = f"kept in {place.clouds} and {place.secrets}, which only their owner may read"
    if not sys.stdout.isatty():
        console().print(f"its passwords are {where}", markup=False)
        return
    lines = [f"its passwords, shown this once and {where}:"]
    for name in ("novella", "admin", "flower"):
        lines.append(f"  {name:8} {secret(place, f'{name}-password')}")
    console().print("\n".join(lines), markup=False)


def show_next_steps(cloud: LocalCloud) -> None:
    """Addresses, where the passwords are, and what to type."""
    place, settings = cloud.place, cloud.settings
    command = "novella"
    if (root := checkout()) and (root / ".venv/bin/novella").exists():
        command = shlex.quote(str(root / ".venv/bin/novella"))
    lines = [
        "",
        f"API      {settings.api_url}/identity (users and passwords in {place.clouds})",
        f"Docs     {settings.api_url}/docs",
        f"Flower   http://127.0.0.1:{settings.flower_port}/ "
        f"(user novella, password in {place.secrets / 'flower-password'})",
        f"Logs     {place.logs}",
        "",
        "Next:",
        f"  export OS_CLIENT_CONFIG_FILE={shlex.quote(str(place.clouds))} OS_CLOUD=novella",
        "  openstack server list",
        f"  {command} --config {shlex.quote(str(place.config))} task list",
        "  bin/up --status",
        "  bin/down",
    ]
    console().print("\n".join(lines), markup=False)
