"""`bin/down`: guests first and gently, then everything else; rows and disks stay."""

from __future__ import annotations

import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import click

from app.cli.local import files
from app.cli.local.cloud import LocalCloud, settle
from app.cli.local.place import Place, find_place
from app.cli.local.programs import ORDER, environment, render
from app.cli.local.running import stop
from app.cli.local.supervisor import Supervisor
from app.cli.local.waiting import locked, until
from app.cli.output import console
from app.domain.guest import CRASHED, PAUSED, SHUTDOWN, Guest
from app.errors import NovellaError
from app.virt.driver import Driver
from app.virt.libvirt import daemon as libvirt_daemon
from app.virt.libvirt.daemon import Daemon
from app.virt.loader import load_driver

GUEST_SECONDS = 30.0
SHUTDOWN_SECONDS = 60.0
LIBVIRTD_SECONDS = 20.0
_LIBVIRT = ("virtlogd", "libvirtd")
_TOGETHER = 16
_OFF = (SHUTDOWN, CRASHED)


@click.command()
def down() -> None:
    """Stop the cloud that bin/up started here; its servers run again after the next bin/up."""
    place = find_place(os.environ)
    if not place.config.exists():
        console().print(f"there is no cloud in {place.state}", markup=False)
        return
    place.make()
    with locked(place.state / "lock"):
        _down(place)


def _down(place: Place) -> None:
    supervisor = Supervisor(place)
    running = supervisor.alive()
    cloud = settle(place, {}, running=True)
    if not running:
        if not _left(cloud):
            _clear(cloud)
            console().print("already down")
            return
        # Somebody killed supervisord: its guests run on, and only libvirtd can end them well.
        files.write_private(place.supervisor_config, render(place, cloud.programs))
        supervisor.launch(environment(place, os.environ))
    mark = place.state / "hosts" / cloud.host / "stopping"
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    stop(supervisor, [name for name in ORDER if name not in ("redis", *_LIBVIRT)])
    if not running:
        for name in _LIBVIRT:
            supervisor.start(name)
    _stop_guests(cloud, supervisor)
    stop(supervisor, ["libvirtd"])
    stop(supervisor, ["virtlogd", "redis"])
    supervisor.shutdown(SHUTDOWN_SECONDS)
    _clear(cloud)
    console().print("the cloud is down; bin/up starts it and its servers again")


def _stop_guests(cloud: LocalCloud, supervisor: Supervisor) -> None:
    """End all guests of this cloud: by their power button, then by force. Never raises."""
    if cloud.daemon is not None:
        try:
            daemon = cloud.daemon
            until("libvirtd", lambda: _deaf(daemon), LIBVIRTD_SECONDS, supervisor)
        except NovellaError as error:
            console().print(f"guests end without warning: {error.message}", markup=False)
    driver = load_driver(cloud.settings, cloud.host, cloud.settings.cloud_id)
    try:
        driver.open()
        _press_buttons(driver)
        if cloud.daemon is None and hasattr(driver, "remove_networks"):
            driver.remove_networks()
        elif hasattr(driver, "remove_rules"):
            driver.remove_rules()
    except NovellaError as error:
        console().print(f"guests end without warning: {error.message}", markup=False)
    finally:
        driver.close()
    _teardown(cloud)


def _press_buttons(driver: Driver) -> None:
    guests = [guest for guest in driver.inventory().guests if guest.power_state not in _OFF]
    if not guests:
        return
    console().print(f"stopping guests: {len(guests)}, with {GUEST_SECONDS:.0f} s for each")
    with ThreadPoolExecutor(_TOGETHER) as pool:
        for said in pool.map(lambda guest: _stop_guest(driver, guest), guests):
            console().print(said, markup=False)


def _stop_guest(driver: Driver, guest: Guest) -> str:
    fence = max(guest.fence, guest.applied)
    began = time.monotonic()
    try:
        if guest.committed and guest.power_state == PAUSED:
            driver.suspend(guest.server_id, fence, threading.Event())
            how = "saved, paused,"
        elif guest.committed:
            driver.stop(guest.server_id, fence, GUEST_SECONDS, threading.Event())
            how = "stopped"
        else:
            # Half built: it never ran, and its server finds another try without it.
            driver.destroy(guest.server_id, fence)
            how = "removed, its build had not finished,"
    except NovellaError as error:
        return f"server {guest.server_id}: {error.message}"
    return f"server {guest.server_id} {how} after {time.monotonic() - began:.1f} s"


def _deaf(daemon: Daemon) -> str | None:
    return None if libvirt_daemon.listening(daemon) else "it does not listen yet"


def _left(cloud: LocalCloud) -> bool:
    """Whether guests or bridges of this cloud are there though its processes are not."""
    if cloud.daemon is None:
        return False
    from app.virt.libvirt import leftovers  # needs libvirt-python, which fake clouds do without

    return bool(leftovers.find(cloud.daemon))


def _teardown(cloud: LocalCloud) -> None:
    """Whatever of guests, networks and firewall chains is still there goes."""
    if cloud.daemon is None:
        return
    from app.virt.libvirt import leftovers

    for did in leftovers.teardown(cloud.daemon):
        console().print(did, markup=False)


def _clear(cloud: LocalCloud) -> None:
    """After the last process: firewall chains, then the directory of sockets."""
    _teardown(cloud)
    shutil.rmtree(cloud.place.runtime, ignore_errors=True)
