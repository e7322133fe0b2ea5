"""The commands of `novella host` that make a machine a hypervisor of a cloud."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from app import joining
from app.cli.joining import joined as host_files
from app.cli.joining import machine
from app.cli.joining.join import Wish, join, start_host
from app.cli.joining.run import become
from app.cli.local.place import Place
from app.cli.local.processes import show_processes
from app.cli.local.running import stop
from app.cli.local.supervisor import Supervisor
from app.cli.local.waiting import locked
from app.cli.output import console
from app.config import settings
from app.errors import Conflict, Invalid, NovellaError
from app.images.keys import load_keys
from app.joining import DEFAULT_MINUTES, LONGEST_MINUTES
from app.virt.libvirt.daemon import Daemon

_state_dir = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=host_files.DEFAULT_STATE_DIR,
    show_default=True,
    help="Where this host keeps its settings, journal, images and disks.",
)


@click.command("token")
@click.option(
    "--minutes",
    type=click.IntRange(1, LONGEST_MINUTES),
    default=DEFAULT_MINUTES,
    show_default=True,
    help="How long it is valid.",
)
@click.option("--url", help="The API as the new machine reaches it.")
@click.option("--quiet", is_flag=True, help="Print the token only.")
def token_(minutes: int, url: str | None, quiet: bool) -> None:
    """Make a token with which machines may join, where the cloud's keys are."""
    configured = settings()
    keys = configured.path("keys")
    if not any(keys.glob("*.key")):
        raise Invalid(
            f"no cloud's keys in {keys}: run this on the machine of the web process, with its "
            "settings (--config)"
        )
    made = joining.make_token(load_keys(keys), minutes * 60)
    if quiet:
        click.echo(made)
        return
    until = time.strftime("%H:%M:%S", time.localtime(time.time() + minutes * 60))
    root = (url or configured.public_url or configured.api_url).rstrip("/")
    ca = f" --cacert {configured.tls_ca.name}" if configured.tls_ca else ""
    click.echo(f"{made}\n\nIt is valid until {until}, {minutes} minutes. On the other machine:\n")
    click.echo(f"  novella host join --cloud {root} --token {made}{ca}\n")
    if configured.tls_ca:
        click.echo(f"Copy {configured.tls_ca} there first.")
    if joining.is_loopback(urlsplit(root).hostname):
        click.echo(
            f"But this cloud listens on {configured.bind}, which no other machine reaches: set "
            "NOVELLA_BIND, or give --url.",
            err=True,
        )


@click.command("join")
@click.option("--cloud", required=True, metavar="URL", help="The cloud's API.")
@click.option(
    "--token",
    envvar="NOVELLA_JOIN_TOKEN",
    prompt=True,
    hide_input=True,
    help="What `novella host token` printed; asked for when it is not given.",
)
@click.option("--name", help="The host's name in the cloud; this machine's by default.")
@_state_dir
@click.option("--libvirt-uri", help="The libvirtd to use; qemu:///system by default.")
@click.option("--own-libvirtd", is_flag=True, help="Run a libvirtd of its own, as bin/up does.")
@click.option("--driver", help="Another hypervisor driver, module:Class.")
@click.option("--cacert", type=click.Path(path_type=Path), help="CA certificates of the API (PEM).")
@click.option("--no-start", is_flag=True, help="Write the settings only.")
def join_(token: str, state_dir: Path, no_start: bool, **given: Any) -> None:
    """Make this machine a hypervisor of the cloud at URL, or make sure that it is one."""
    wish = Wish.of(given)
    if given["own_libvirtd"] and os.geteuid() != 0:
        raise Invalid("--own-libvirtd needs root (it makes bridges, firewall rules and mounts)")
    place = host_files.place_of(state_dir, os.environ)
    place.make()
    with locked(place.state / "lock"):
        join(place, wish, token.strip(), start=not no_start)


@click.command()
@_state_dir
def start(state_dir: Path) -> None:
    """Start the host that joined from here; what runs stays as it is."""

    def work(place: Place) -> None:
        joined, supervisor = host_files.require(place), Supervisor(place)
        place.make()
        start_host(joined, supervisor)
        console().print(f"{joined.name} runs")

    _locked(state_dir, work)


@click.command("stop")
@_state_dir
def stop_(state_dir: Path) -> None:
    """Stop the host's worker; its servers run on, and nothing is placed here meanwhile."""

    def work(place: Place) -> None:
        joined, supervisor = host_files.require(place), Supervisor(place)
        if not supervisor.alive():
            console().print(f"{joined.name} is stopped already")
            return
        host_files.end(joined, supervisor)
        console().print(f"{joined.name} is stopped; novella host start goes on")

    _locked(state_dir, work)


@click.command("status")
@_state_dir
def status_(state_dir: Path) -> None:
    """Show the host's processes and its heartbeat; exit 1 when one of them is not well."""
    place = host_files.place_of(state_dir, os.environ)
    joined, supervisor = host_files.require(place), Supervisor(place)
    console().print(f"{joined.name} in {joined.settings.cloud_url}", markup=False)
    if not supervisor.alive():
        console().print(f"stopped: novella host start --state-dir {place.state}", markup=False)
        sys.exit(1)
    well = show_processes(place, supervisor.processes())
    host_files.adopt(joined)
    beat = host_files.beat(joined)
    said = "none" if beat is None else "well" if beat.driver_ok else "its hypervisor is away"
    console().print(f"heartbeat: {said}")
    sys.exit(0 if well and said == "well" else 1)


@click.command()
@_state_dir
@click.option("--force", is_flag=True, help="Also while servers are here.")
def leave(state_dir: Path, force: bool) -> None:
    """Stop the host and forget the cloud; refused while servers are here."""

    def work(place: Place) -> None:
        joined, supervisor = host_files.require(place), Supervisor(place)
        if not force:
            _require_empty(joined)
            if supervisor.alive():
                stop(supervisor, ["host"])
            machine.remove_networks(joined.settings, joined.name)
        if supervisor.alive():
            host_files.end(joined, supervisor)
        if joined.daemon is not None and not force:
            _tear_down(joined.daemon)
        host_files.forget(place, guests_run=force and joined.daemon is not None)
        console().print(
            f"{joined.name} has left {joined.settings.cloud_url}; images and disks are still in "
            f"{place.state / 'hosts' / joined.name}. The cloud shows it down until it is removed "
            "there.",
            markup=False,
        )

    _locked(state_dir, work)


def _tear_down(daemon: Daemon) -> None:
    """What our own libvirtd left, its bridges and firewall chains, goes."""
    from app.virt.libvirt import leftovers  # needs libvirt-python

    for did in leftovers.teardown(daemon):
        console().print(did, markup=False)


def _require_empty(joined: host_files.Joined) -> None:
    try:
        left = machine.guests(joined.settings, joined.name)
    except NovellaError as error:
        raise Conflict(
            f"cannot see whether servers are here ({error.message}): mend that, or give --force"
        ) from error
    if left:
        raise Conflict(
            f"{left} servers are on {joined.name}: delete them first (novella host disable "
            f"{joined.name} keeps new ones away), or give --force, and they run on unmanaged"
        )


def _locked(state_dir: Path, work: Callable[[Place], None]) -> None:
    place = host_files.place_of(state_dir, os.environ)
    host_files.require(place)
    with locked(place.state / "lock"):
        work(place)


@click.command()
@_state_dir
@click.option("--name", envvar="NOVELLA_HOST_NAME", help="The host's name in the cloud.")
@click.option("--own-libvirtd", is_flag=True, help="Run a libvirtd of its own, as bin/up does.")
def run(state_dir: Path, name: str | None, own_libvirtd: bool) -> None:
    """Run a host in the foreground, for containers; its settings are the environment's."""
    place = host_files.place_of(state_dir, os.environ)
    place.make()
    become(place, name or "", own_libvirtd)
