"""Settling what a local cloud is made of: its settings, its programs, its database."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from app import tls
from app.broker_url import address
from app.cli.local import files, ports
from app.cli.local.place import Place, host_name
from app.cli.local.programs import Program, programs, redis_addresses
from app.config import Settings, load
from app.errors import Conflict, HostFault, Invalid
from app.virt.libvirt import daemon as libvirt_daemon
from app.virt.libvirt.daemon import Daemon

_OWN = ("state_dir", "runtime_dir")
_SOCKET = "/libvirt/libvirt-sock"


@dataclass(frozen=True)
class LocalCloud:
    """All there is to know about the cloud in a place."""

    place: Place
    settings: Settings
    host: str
    daemon: Daemon | None
    programs: tuple[Program, ...]

    @property
    def has_guests(self) -> bool:
        """Whether its servers are real."""
        return _uses_libvirt({"driver": self.settings.driver})


def settle(place: Place, environ: Mapping[str, str], running: bool) -> LocalCloud:
    """Decide all settings, write novella.toml, and list the programs.

    What the environment gives is kept for later starts. Raises Conflict when it would change
    a cloud that is `running`, Invalid for a wrong value or when root is needed and missing.
    """
    kept = files.read_settings(place)
    if kept.get("cloud_url"):
        raise Invalid(
            f"{place.state} is of a host that joined {kept['cloud_url']}: see `novella host "
            "--help`, or set NOVELLA_STATE_DIR to another directory"
        )
    given = given_settings(environ)
    if running:
        _require_same(kept, given)
    values = {**kept, **given}
    _require_root(values)
    values |= {"state_dir": str(place.state), "runtime_dir": str(place.runtime)}
    values.setdefault("cloud_id", str(uuid.uuid4()))
    own_redis = _settle_broker(place, values, given, running)
    daemon = settle_libvirt(place, values)
    _settle_tls(values)
    files.write_settings(place, values)
    settings = load({"NOVELLA_CONFIG": str(place.config)})
    host = host_name(place, environ)
    made = programs(place, settings, host, own_redis, daemon)
    return LocalCloud(place, settings, host, daemon, tuple(made))


def require_ports(cloud: LocalCloud) -> None:
    """Raises Conflict for a port that somebody else holds."""
    settings, config = cloud.settings, cloud.place.config
    ports.require_free(settings.bind, settings.port, "NOVELLA_PORT", config)
    tls.check(settings)
    tls.require_name(settings)
    ports.require_free("127.0.0.1", settings.flower_port, "NOVELLA_FLOWER_PORT", config)


def prepare_database(cloud: LocalCloud, environ: Mapping[str, str]) -> bool:
    """Bring the schema up to date and fill it at the first start; True when that was now."""
    # Imported only here: the database's migrations take half a second to load.
    from app.cli.local.first_start import first_start

    seeded = first_start(cloud.place, cloud.settings, environ)
    if seeded.cloud_id != cloud.settings.cloud_id:
        values = files.read_settings(cloud.place) | {"cloud_id": seeded.cloud_id}
        files.write_settings(cloud.place, values)
    return seeded.created


def given_settings(environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings that the environment names, of the right types."""
    names = [f.name for f in fields(Settings) if f.name not in _OWN]
    variables = {name: f"NOVELLA_{name.upper()}" for name in names}
    wanted = {
        variable: environ[variable]
        for name in variables.values()
        for variable in (name, f"{name}_FILE")
        if environ.get(variable)
    }
    typed = load(wanted)
    values = {
        name: getattr(typed, name)
        for name, variable in variables.items()
        if variable in wanted or f"{variable}_FILE" in wanted
    }
    return {k: str(v.absolute()) if isinstance(v, Path) else v for k, v in values.items()}


def _require_same(kept: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        now = kept.get(name, getattr(Settings(), name))
        if now != value:
            raise Conflict(
                f"the cloud is up with {name} = {now!r}: run bin/down before you change it "
                f"to {value!r}, or unset NOVELLA_{name.upper()}"
            )


def _uses_libvirt(values: Mapping[str, Any]) -> bool:
    return str(values.get("driver", Settings.driver)).startswith("app.virt.libvirt.")


def _own_libvirtd(values: Mapping[str, Any]) -> bool:
    uri = str(values.get("libvirt_uri", ""))
    return _uses_libvirt(values) and (not uri or uri.endswith(_SOCKET))


def _require_root(values: Mapping[str, Any]) -> None:
    if _own_libvirtd(values) and os.geteuid() != 0:
        raise Invalid(
            "libvirtd needs root (it makes bridges, firewall rules and mounts): run bin/up as "
            "root, or try the cloud without real guests: "
            "NOVELLA_DRIVER=app.virt.fake:FakeDriver bin/up --no-guest"
        )


def _settle_broker(
    place: Place, values: dict[str, Any], given: Mapping[str, Any], running: bool
) -> bool:
    """Whether there is to be our own Redis; gives it a port, and another when that was taken.

    It is the broker, or keeps the results beside a RabbitMQ, unless others are given.
    """
    password = files.secret(place, "redis-password")
    name = "broker_url"
    if name in given or password not in values.get(name, password):
        if password in values.get("result_url", ""):
            del values["result_url"]
        if address(values[name]).is_redis or "result_url" in values:
            return False
        name = "result_url"
    kept = str(values.get(name, ""))
    port = int(kept.rpartition(":")[2].partition("/")[0]) if kept else ports.free_port()
    addresses = redis_addresses(str(values.get("bind", Settings.bind)))
    if not running and not all(ports.is_free(address, port) for address in addresses):
        port = ports.free_port()
    values[name] = f"redis://:{password}@127.0.0.1:{port}/0"
    return True


def _settle_tls(values: dict[str, Any]) -> None:
    """A certificate that has signed itself is its own CA, for this cloud's clients and hosts."""
    certificate = values.get("tls_certificate")
    if certificate and not values.get("tls_ca") and tls.is_self_signed(Path(certificate)):
        values["tls_ca"] = certificate


def settle_libvirt(place: Place, values: dict[str, Any]) -> Daemon | None:
    """Prepare a libvirtd of our own, unless `values` name another one. Raises Invalid."""
    if not _own_libvirtd(values):
        return None
    try:
        made = libvirt_daemon.prepare(place.state / "libvirt", place.runtime)
    except HostFault as fault:
        raise Invalid(f"libvirtd: {fault.message}; bin/setup installs what is missing") from fault
    values["libvirt_uri"] = made.uri
    return made
