"""`novella host join`: from a machine with the wheel to a hypervisor that takes servers."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.cli.joining import joined as host_files
from app.cli.joining import machine
from app.cli.joining.cloud import Door, Told
from app.cli.joining.joined import Joined
from app.cli.local import files
from app.cli.local.cloud import given_settings, settle_libvirt
from app.cli.local.place import Place
from app.cli.local.running import await_all, start_all, start_missing, stop
from app.cli.local.supervisor import Supervisor
from app.cli.local.waiting import until
from app.cli.output import console
from app.config import Settings
from app.errors import Conflict, Invalid, NovellaError, Unauthorized, Unavailable
from app.joining import HOST_NAME, is_host_name
from app.virt.libvirt import daemon

LIBVIRT_SECONDS = 60.0
UP_SECONDS = 180.0
BEAT_SECONDS = 90.0
_TOLD = ("cloud_id", "broker_url", "result_url", "cloud_url", "database_url", "tls_ca")
"""What only the cloud and the command line decide, whatever the environment says."""


@dataclass(frozen=True)
class Wish:
    """What the command line asked for; "" and None: not given."""

    url: str
    name: str
    libvirt_uri: str
    own_libvirtd: bool
    driver: str
    cacert: Path | None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Wish:
        """From the command's options. Raises Invalid."""
        try:
            parts = urlsplit(given["cloud"].strip().rstrip("/"))
        except ValueError as error:
            raise Invalid(f"--cloud: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise Invalid("--cloud: give the API's URL, like https://cloud.example.org:8774")
        if given["own_libvirtd"] and given["libvirt_uri"]:
            raise Invalid("--own-libvirtd and --libvirt-uri exclude each other")
        name = given["name"] or ""
        if name and not is_host_name(name):
            raise Invalid(f"--name {name}: it must match {HOST_NAME}")
        return cls(
            url=parts._replace(query="", fragment="").geturl(),
            name=name,
            libvirt_uri=given["libvirt_uri"] or "",
            own_libvirtd=given["own_libvirtd"],
            driver=given["driver"] or "",
            cacert=given["cacert"],
        )


def join(place: Place, wish: Wish, token: str, start: bool) -> None:
    """Join, or make sure of it; see the command. Raises NovellaError, and then nothing is left."""
    before = host_files.read(place)
    supervisor = Supervisor(place)
    if before is None:
        _join_first(place, wish, token, start, supervisor)
    else:
        _join_again(before, wish, token, start, supervisor)


def start_host(joined: Joined, supervisor: Supervisor) -> None:
    """Start what does not run, and wait until the host's heartbeat is heard."""
    host_files.adopt(joined)
    last = host_files.beat(joined)
    if supervisor.alive():
        if any(one.name == "host" and one.wanted for one in supervisor.processes()):
            last = None  # the same worker goes on, in the same session
        start_missing(supervisor)
    else:
        start_all(joined.place, joined.programs, supervisor)

    def missing() -> str | None:
        beat = host_files.beat(joined)
        if beat is None or (last is not None and beat.session == last.session):
            return "no heartbeat yet"
        return None if beat.driver_ok else "its hypervisor does not answer"

    until(f"the worker of {joined.name}", missing, BEAT_SECONDS, supervisor)
    await_all(supervisor)


def _join_first(place: Place, wish: Wish, token: str, start: bool, supervisor: Supervisor) -> None:
    values = _values(place, wish)
    name = wish.name or machine.default_name()
    if not is_host_name(name):
        raise Invalid(f"this machine's host name makes no host name ({name!r}): give --name")
    joined = None
    try:
        joined, door, host_uuid = _let_in(place, wish, token, (name, values), supervisor)
        if start:
            _up(joined, door, host_uuid, supervisor)
    except NovellaError as error:
        if joined is None or not isinstance(error, Unavailable):
            # It cannot be so: leave nothing that would try again for ever.
            _end(supervisor)
            host_files.forget(place)
        raise
    console().print(f"joined {wish.url} as {joined.name}", markup=False)
    _show_next_steps(joined, start)


def _let_in(
    place: Place,
    wish: Wish,
    token: str,
    wanted: tuple[str, dict[str, Any]],
    supervisor: Supervisor,
) -> tuple[Joined, Door, str]:
    """Check the machine, ask the cloud, and write what it told."""
    name, values = wanted
    own = settle_libvirt(place, values) if wish.own_libvirtd else None
    settings = _settings(values)
    machine.require_libraries(settings)
    host_files.let_qemu_in(place, settings, own=own is not None)
    joined = Joined(place, settings, name, own)
    _start_libvirtd(joined, supervisor)
    facts = machine.facts(settings, name)
    console().print(
        f"{name}: {facts.hypervisor_type}, {facts.vcpus} CPUs, {facts.ram_mb} MiB of RAM, "
        f"{facts.disk_gb} GiB of disk",
        markup=False,
    )
    door = Door(wish.url, token, _verify(place, wish))
    told = door.join(name, facts.uuid, known=False)
    return host_files.write(place, name, {**values, **_told(told)}), door, facts.uuid


def _join_again(
    before: Joined, wish: Wish, token: str, start: bool, supervisor: Supervisor
) -> None:
    """Already joined: follow what the cloud says now, and start what is missing."""
    if wish.url != before.settings.cloud_url or wish.name not in ("", before.name):
        raise Conflict(
            f"{before.place.state} has joined {before.settings.cloud_url} as {before.name} "
            "already: give another --state-dir, or run novella host leave first"
        )
    joined = _follow(before, wish, token, supervisor)
    console().print(f"already joined {wish.url} as {joined.name}", markup=False)
    if start:
        start_host(joined, supervisor)
    _show_next_steps(joined, start)


def _follow(before: Joined, wish: Wish, token: str, supervisor: Supervisor) -> Joined:
    """The host with the settings that the cloud tells now, its worker stopped if they changed."""
    door = Door(wish.url, token, _verify(before.place, wish))
    try:
        _start_libvirtd(before, supervisor)
        facts = machine.facts(before.settings, before.name)
        told = door.join(before.name, facts.uuid, known=True)
    except (Unauthorized, Unavailable, Invalid) as error:
        console().print(f"going on with the settings of before: {error.message}", markup=False)
        return before
    kept = files.read_settings(before.place)
    values = {**kept, **_told(told)}
    if values == kept:
        return before
    if supervisor.alive():
        stop(supervisor, ["host"])
    console().print("the cloud's settings have changed", markup=False)
    return host_files.write(before.place, before.name, values)


def _up(joined: Joined, door: Door, host_uuid: str, supervisor: Supervisor) -> None:
    """Start the worker, and wait until the cloud places servers here or refuses the host."""
    start_host(joined, supervisor)

    def missing() -> str | None:
        if (reason := host_files.refusal(joined, host_uuid)) is not None:
            raise Conflict(f"the cloud refuses this machine: {reason}")
        state = door.standing(joined.name, host_uuid)
        return None if state in ("up", "forced_down") else f"it is {state}"

    try:
        until(f"host {joined.name}", missing, UP_SECONDS, supervisor)
    except Unauthorized as error:
        raise Unavailable(
            "the worker runs, but the token expired before the cloud said that the host is up: "
            "see novella host list on the cloud's machine"
        ) from error


def _start_libvirtd(joined: Joined, supervisor: Supervisor) -> None:
    """Our own libvirtd must be there before it can be asked who it is."""
    own = joined.daemon
    if own is None:
        return
    if not supervisor.alive():
        start_all(joined.place, joined.programs, supervisor, only=("virtlogd", "libvirtd"))

    def missing() -> str | None:
        return None if daemon.listening(own) else "it does not listen yet"

    until("libvirtd", missing, LIBVIRT_SECONDS, supervisor)


def _end(supervisor: Supervisor) -> None:
    """Never raises: something worse is being told already."""
    try:
        if supervisor.alive():
            supervisor.shutdown(host_files.SHUTDOWN_SECONDS)
    except NovellaError as error:
        console().print(f"not all could be stopped: {error.message}", markup=False)


def _values(place: Place, wish: Wish) -> dict[str, Any]:
    """The settings that this machine decides: of the environment, then of the command line."""
    values = {k: v for k, v in given_settings(os.environ).items() if k not in _TOLD}
    values |= {"state_dir": str(place.state), "runtime_dir": str(place.runtime)}
    values["cloud_url"] = wish.url
    values.setdefault("host_address", machine.own_address(wish.url))
    if wish.driver:
        values["driver"] = wish.driver
    if wish.own_libvirtd:
        values.pop("libvirt_uri", None)
    else:
        values["libvirt_uri"] = wish.libvirt_uri or values.get("libvirt_uri", Settings.libvirt_uri)
    if wish.cacert is not None:
        values["tls_ca"] = str(host_files.ca_file(place))
    return values


def _verify(place: Place, wish: Wish) -> str | bool:
    """What to trust: the CA certificates given now or before, kept beside the settings."""
    kept = host_files.ca_file(place)
    if wish.cacert is not None:
        try:
            files.write_private(kept, wish.cacert.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise Invalid(f"--cacert {wish.cacert}: {error}") from error
    return str(kept) if kept.exists() else True


def _settings(values: Mapping[str, Any]) -> Settings:
    paths = ("state_dir", "runtime_dir", "cache_dir", "tls_ca", "failpoints")
    return Settings(
        **{k: Path(v) if k in paths and v else v for k, v in values.items()}  # type: ignore[arg-type]
    )


def _told(told: Told) -> dict[str, Any]:
    """The cloud's part of the settings; unknown ones are a newer cloud's, and left out."""
    known = {k: v for k, v in told.settings.items() if hasattr(Settings, k)}
    values = {"cloud_id": told.cloud_id, "broker_url": told.broker_url, **known}
    return values | ({"result_url": told.result_url} if told.result_url else {})


def _show_next_steps(joined: Joined, started: bool) -> None:
    state = f"--state-dir {shlex.quote(str(joined.place.state))}"
    lines = [
        "",
        f"Log      {joined.place.logs / 'host.log'}",
        f"Status   novella host status {state}",
        f"Stop     novella host stop {state}   (its servers run on)",
        f"Leave    novella host leave {state}",
        "",
        "On the cloud's machine: novella host list",
    ]
    if not started:
        lines.insert(0, f"start it with: novella host start {state}")
    console().print("\n".join(lines), markup=False)
