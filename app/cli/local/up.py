"""`bin/up`: from nothing to a cloud with a guest that runs, or back up again."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import click

from app.cli import web_health
from app.cli.local import files
from app.cli.local.cloud import LocalCloud, prepare_database, require_ports, settle
from app.cli.local.demo import Demo
from app.cli.local.place import Place, find_place
from app.cli.local.running import await_all, start_all, start_missing
from app.cli.local.showing import host_states, show_next_steps, show_passwords, show_status
from app.cli.local.supervisor import Supervisor
from app.cli.local.waiting import locked, until
from app.cli.output import console
from app.errors import Invalid

WEB_SECONDS = 60.0
HOST_SECONDS = 120.0


@click.command()
@click.option("--status", "status_wanted", is_flag=True, help="Show processes and hosts; 1 if ill.")
@click.option("--no-guest", is_flag=True, help="Make no image and no server.")
def up(status_wanted: bool, no_guest: bool) -> None:
    """Start a whole cloud on this machine (see docs/operating.md)."""
    place = find_place(os.environ)
    if status_wanted:
        place.require_owner()
        sys.exit(0 if show_status(place) else 1)
    place.make()
    with locked(place.state / "lock"):
        _up(place, guest_wanted=not no_guest)


def _up(place: Place, guest_wanted: bool) -> None:
    supervisor = Supervisor(place)
    running = supervisor.alive()
    cloud = settle(place, os.environ, running)
    if cloud.settings.auth == "keystone":
        raise Invalid(
            "setting auth: bin/up makes a cloud with an Identity and users of its own; with a "
            "Keystone, start the processes as docs/operating.md says"
        )
    before: dict[str, str] = {}
    if running:
        changed = start_missing(supervisor)
    else:
        _prepare(cloud)
        before, changed = _sessions(cloud), True
        start_all(place, cloud.programs, supervisor)
    _wait(cloud, supervisor, before)
    if guest_wanted and cloud.has_guests:
        changed = Demo(place, cloud.settings).run(restarted=not running) or changed
    console().print("the cloud is up" if changed else "already up, nothing changed")
    show_next_steps(cloud)


def _prepare(cloud: LocalCloud) -> None:
    """Everything that must be there before the first process."""
    require_ports(cloud)
    is_new = prepare_database(cloud, os.environ)
    files.write_clouds(cloud.place, cloud.settings)
    if is_new:
        console().print(f"a new cloud in {cloud.place.state}", markup=False)
        show_passwords(cloud)


def _wait(cloud: LocalCloud, supervisor: Supervisor, before: Mapping[str, str]) -> None:
    until("the API", lambda: web_health.lack(cloud.settings), WEB_SECONDS, supervisor)
    what = f"host {cloud.host}"
    until(what, lambda: _host_missing(cloud, before), HOST_SECONDS, supervisor)
    await_all(supervisor)


def _host_missing(cloud: LocalCloud, before: Mapping[str, str]) -> str | None:
    """Up in this run: the row of an earlier one says nothing, so its session must be a new one."""
    found = {one["name"]: one for one in host_states(cloud.settings.database)}
    host = found.get(cloud.host)
    if host is None or host["session"] == before.get(cloud.host):
        return "its worker has not registered yet"
    return None if host["state"] == "up" else f"it is {host['state']}"


def _sessions(cloud: LocalCloud) -> dict[str, str]:
    return {one["name"]: one["session"] for one in host_states(cloud.settings.database)}
