"""`novella task`: what the cloud is doing, over HTTP with the credentials of a clouds.yaml."""

from __future__ import annotations

import sys
from typing import Any

import click

from app.cli.api import Api, credentials
from app.cli.output import as_json, console, print_json, print_table
from app.cli.watching import watch

_cloud = click.option("--cloud", help="Entry of clouds.yaml; else OS_CLOUD, else novella.")
_FILTERS = ("server_id", "state", "kind", "host")


@click.group()
def task() -> None:
    """Tasks: one for each accepted request on a server."""


@task.command("list")
@_cloud
@click.option("--server", "server_id", help="Only those of this server id.")
@click.option("--state", help="queued, running, succeeded, failed or cancelled.")
@click.option("--kind", help="create, delete, reboot …")
@click.option("--host", help="Only those on this host (admins; of all projects).")
@click.option("--all-projects", is_flag=True, help="Everybody's (admins).")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@as_json
def list_(
    cloud: str | None, json_wanted: bool, limit: int, all_projects: bool, **filters: str | None
) -> None:
    """Tasks, the newest first."""
    params = {name: filters[name] for name in _FILTERS if filters.get(name)}
    if all_projects or filters.get("host"):
        params["all_projects"] = "true"
    answer = Api(credentials(cloud)).get("/v1/tasks", params={**params, "limit": limit}).json()
    tasks = answer["tasks"] if isinstance(answer, dict) else answer
    if json_wanted:
        print_json(tasks)
        return
    if not tasks:
        click.echo("no tasks")
        return
    columns = ("id", "kind", "state", "stage", "progress", "host", "server_id", "created_at")
    print_table(columns, tasks)


@task.command()
@click.argument("task_id", metavar="ID")
@_cloud
@as_json
def show(task_id: str, cloud: str | None, json_wanted: bool) -> None:
    """Everything about task ID."""
    answer = Api(credentials(cloud)).get(f"/v1/tasks/{task_id}").json()
    found: dict[str, Any] = answer.get("task", answer)
    if json_wanted:
        print_json(found)
        return
    for name, value in found.items():
        if name not in ("steps", "links", "fault"):
            click.echo(f"{name:<12} {'-' if value is None else value}")
    if found.get("fault"):
        click.echo(f"{'fault':<12} {found['fault'].get('message')}")
    if found.get("steps"):
        print_table(("name", "host", "result", "started_at", "finished_at"), found["steps"])


@task.command("watch")
@click.argument("task_id", metavar="ID")
@_cloud
@click.option("--timeout", type=float, default=3600, show_default=True, help="Seconds.")
def watch_(task_id: str, cloud: str | None, timeout: float) -> None:
    """Follow task ID to its end; exit 1 when it did not succeed, 3 when it takes too long."""
    try:
        final = watch(Api(credentials(cloud)), task_id, timeout)
    except TimeoutError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(3)
    if final["state"] != "succeeded":
        fault = (final.get("fault") or {}).get("message") or "no fault given"
        raise click.ClickException(f"{final['kind']} {final['state']}: {fault}")
    console().print(f"{final['kind']} of server {final['server_id']} succeeded", markup=False)
