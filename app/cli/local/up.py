"""`bin/up`: from nothing to a cloud with a guest that runs, or back up again."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import click
import requests

from app.cli.local import files
from app.cli.local.cloud import LocalCloud, prepare_database, require_ports, settle
from app.cli.local.demo import Demo
from app.cli.local.place import Place, find_place
from app.cli.local.programs import environment, render
from app.cli.local.showing import host_states, show_next_steps, show_status
from app.cli.local.supervisor import Supervisor
from app.cli.local.waiting import locked, until
from app.cli.output import console

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
    before: dict[str, str] = {}
    if running:
        changed = _start_missing(supervisor)
    else:
        _prepare(cloud)
        before, changed = _sessions(cloud), True
        _start_all(cloud, supervisor)
    _wait(cloud, supervisor, before)
    if guest_wanted and cloud.has_guests:
        changed = Demo(place).run(restarted=not running) or changed
    console().print("the cloud is up" if changed else "already up, nothing changed")
    show_next_steps(cloud)


def _prepare(cloud: LocalCloud) -> None:
    """Everything that must be there before the first process."""
    require_ports(cloud)
    if prepare_database(cloud, os.environ):
        console().print(f"a new cloud in {cloud.place.state}", markup=False)
    files.write_clouds(cloud.place, cloud.root_url, cloud.settings.region)
    files.write_private(cloud.place.supervisor_config, render(cloud.place, cloud.programs))


def _start_all(cloud: LocalCloud, supervisor: Supervisor) -> None:
    supervisor.launch(environment(cloud.place, os.environ))
    for program in cloud.programs:
        supervisor.start(program.name)
    console().print(f"started {', '.join(program.name for program in cloud.programs)}")


def _start_missing(supervisor: Supervisor) -> bool:
    """Start what somebody stopped; supervisord itself sees to what died."""
    stopped = [process.name for process in supervisor.processes() if not process.wanted]
    for name in stopped:
        supervisor.start(name)
    if stopped:
        console().print(f"started {', '.join(stopped)}")
    return bool(stopped)


def _wait(cloud: LocalCloud, supervisor: Supervisor, before: Mapping[str, str]) -> None:
    until("the API", lambda: _web_missing(cloud.root_url), WEB_SECONDS, supervisor)
    what = f"host {cloud.host}"
    until(what, lambda: _host_missing(cloud, before), HOST_SECONDS, supervisor)
    until("every process", lambda: _process_missing(supervisor), WEB_SECONDS, supervisor)


def _web_missing(root_url: str) -> str | None:
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(f"{root_url}/healthz", timeout=5)
        except requests.RequestException:
            return "no answer yet"
    return None if answer.ok else f"/healthz says {answer.status_code}"


def _host_missing(cloud: LocalCloud, before: Mapping[str, str]) -> str | None:
    """Up in this run: the row of an earlier one says nothing, so its session must be a new one."""
    found = {one["name"]: one for one in host_states(cloud.settings.database)}
    host = found.get(cloud.host)
    if host is None or host["session"] == before.get(cloud.host):
        return "its worker has not registered yet"
    return None if host["state"] == "up" else f"it is {host['state']}"


def _process_missing(supervisor: Supervisor) -> str | None:
    ill = [f"{p.name} is {p.state}" for p in supervisor.processes() if p.state != "RUNNING"]
    return ", ".join(ill) or None


def _sessions(cloud: LocalCloud) -> dict[str, str]:
    return {one["name"]: one["session"] for one in host_states(cloud.settings.database)}
