"""`novella host`: hypervisors.

Those of the cloud in the database directly (so it works when the API is down), and joining from
a machine that has no database at all (`app.cli.joining`).
"""

from __future__ import annotations

import click

from app.cli.lazy import LazyGroup
from app.cli.output import as_json, print_json, print_table
from app.store import database, hosts_admin

_JOINING = {
    name: ("app.cli.joining.commands", function)
    for name, function in (
        ("token", "token_"), ("join", "join_"), ("start", "start"), ("stop", "stop_"),
        ("status", "status_"), ("leave", "leave"), ("run", "run"),
    )
}  # fmt: skip


@click.group(cls=LazyGroup, lazy=_JOINING)
def host() -> None:
    """Hypervisors."""


@host.command("list")
@as_json
def list_(json_wanted: bool) -> None:
    """Every host with its state and use."""
    with database.reading() as session:
        rows = hosts_admin.overview(session)
    if json_wanted:
        print_json(rows)
        return
    shown = [
        {
            "name": row["name"],
            "state": row["state"],
            "placing": "yes" if row["enabled"] else f"no: {row['disabled_reason'] or 'disabled'}",
            "zone": row["zone"],
            "address": row["address"],
            "servers": row["servers"],
            "vcpus": f"{row['used_vcpus']}/{row['vcpus']}",
            "ram_mib": f"{row['used_ram_mb']}/{row['ram_mb']}",
            "disk_gib": f"{row['used_disk_gb']}/{row['disk_gb']}",
            "seen": f"{row['seconds_since_seen']:.0f} s ago",
        }
        for row in rows
    ]
    if not shown:
        click.echo("no host has registered yet: start a worker with -Q host-NAME, or run bin/up")
        return
    print_table(list(shown[0]), shown)


@host.command()
@click.argument("name")
def enable(name: str) -> None:
    """Let new servers be placed on host NAME again."""
    with database.transaction() as session:
        hosts_admin.enable(session, name)
    click.echo(f"{name} takes new servers")


@host.command()
@click.argument("name")
@click.option("--reason", help="Why, for others to read.")
def disable(name: str, reason: str | None) -> None:
    """Place no new servers on host NAME; those it has run on."""
    with database.transaction() as session:
        hosts_admin.disable(session, name, reason)
    click.echo(f"{name} takes no new servers; undo with: novella host enable {name}")
