"""Settings: environment first, then a TOML file, then defaults. Read at entry points only.

Every setting `some_name` is the variable `NOVELLA_SOME_NAME` or the key `some_name` in the
file that `NOVELLA_CONFIG` names; a variable `NOVELLA_SOME_NAME_FILE` names a file that holds the
value, for secrets. `docs/settings.md` describes each.
"""

from __future__ import annotations

import functools
import importlib.metadata
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from app.errors import Invalid

_LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True)
class Settings:
    """All settings with their defaults. Sizes are MiB or GiB by suffix, times are seconds."""

    state_dir: Path = Path("var")
    runtime_dir: Path | None = None
    database_url: str = ""
    database_connections: int = 40
    broker_url: str = "redis://127.0.0.1:6379/0"
    result_url: str = ""
    log_level: str = "INFO"
    log_format: str = "json"

    # web
    bind: str = "127.0.0.1"
    port: int = 8774
    flower_port: int = 5555
    public_url: str = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    trusted_proxies: int = 0
    auth: str = "identity"
    keystone_url: str = ""
    keystone_public_url: str = ""
    keystone_user: str = "novella"
    keystone_password: str = ""
    keystone_user_domain: str = "Default"
    keystone_project: str = "service"
    keystone_project_domain: str = "Default"
    keystone_region: str = ""
    keystone_interface: str = "internal"
    keystone_ca: Path | None = None
    keystone_timeout: float = 5.0
    keystone_cache_seconds: float = 10.0
    policy_file: Path | None = None
    extensions: str = ""
    region: str = "RegionOne"
    token_seconds: int = 3600
    body_limit: int = 112 * 1024
    image_limit_gb: int = 10
    image_virtual_limit_gb: int = 1024
    image_store_free_gb: float = 1.0
    web_threads: int = 512
    reserved_networks: str = ""
    tenant_subnets: str = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10"
    metrics_token: str = ""

    # scheduling
    cpu_ratio: float = 4.0
    ram_ratio: float = 1.0
    disk_ratio: float = 1.0
    reserved_ram_mb: int = 512
    max_attempts: int = 3
    alternates: int = 3
    host_patience: float = 120.0
    filters: str = ""
    weighers: str = ""
    weight_multipliers: str = ""
    host_subset_size: int = 1
    shuffle_best_same_weighed_hosts: bool = False
    max_instances_per_host: int = 50
    max_io_ops_per_host: int = 8
    isolated_hosts: str = ""
    isolated_images: str = ""
    restrict_isolated_hosts_to_isolated_images: bool = True
    image_properties_default_architecture: str = ""
    aggregate_image_properties_isolation_namespace: str = ""
    aggregate_image_properties_isolation_separator: str = "."
    chain: bool = True

    # the sweep and host states
    sweep_seconds: float = 1.0
    down_after: float = 30.0
    beat_seconds: float = 5.0
    session_seconds: float = 20.0
    inventory_seconds: float = 60.0
    inplace_deadline: float = 300.0
    slow_deadline: float = 3600.0
    progress_deadline: float = 600.0
    accept_deadline: float = 21600.0
    resume_deadline: float = 300.0
    destroy_deadline: float = 300.0
    stale_pass_seconds: float = 60.0
    deaf_seconds: float = 60.0
    purge_after_days: int = 30

    # hosts
    cloud_id: str = ""
    cloud_url: str = ""
    driver: str = "app.virt.libvirt.driver:LibvirtDriver"
    libvirt_uri: str = "qemu:///system"
    virt_type: str = "auto"
    host_address: str = ""
    host_traits: str = ""
    builds_per_host: int = 4
    shutdown_seconds: int = 60
    cache_dir: Path | None = None
    cache_keep_hours: float = 24.0
    cache_free_gb: float = 1.0
    fake_delay: float = 0.0
    fake_faults: str = ""
    failpoints: Path | None = None

    def path(self, *parts: str) -> Path:
        """A path inside the state directory, absolute."""
        return self.state_dir.absolute().joinpath(*parts)

    @property
    def database(self) -> str:
        """The SQLAlchemy URL: the configured one, or SQLite in the state directory."""
        return self.database_url or f"sqlite:///{self.path('novella.sqlite')}"

    @property
    def results(self) -> str:
        """The result backend's URL; Redis, the broker's own unless set."""
        return self.result_url or self.broker_url

    @property
    def reserved(self) -> list[ipaddress.IPv4Network]:
        """`reserved_networks`, read. Raises Invalid."""
        return _networks("reserved_networks", self.reserved_networks)

    @property
    def for_tenants(self) -> list[ipaddress.IPv4Network]:
        """`tenant_subnets`, read, neighbours put together. Raises Invalid."""
        return list(ipaddress.collapse_addresses(_networks("tenant_subnets", self.tenant_subnets)))

    @property
    def own_address(self) -> str:
        """Where the API listens, for this machine itself."""
        return _LOOPBACKS.get(self.bind, self.bind)

    @property
    def api_url(self) -> str:
        """Where this machine's own processes reach the API, without a slash at the end.

        With TLS by `public_url`, if it is set: a certificate is for a name.
        """
        if self.tls_certificate and self.public_url:
            return self.public_url.rstrip("/")
        host = f"[{self.own_address}]" if ":" in self.own_address else self.own_address
        return f"{'https' if self.tls_certificate else 'http'}://{host}:{self.port}"


def _networks(setting: str, text: str) -> list[ipaddress.IPv4Network]:
    names = [one.strip() for one in text.split(",")]
    try:
        return [ipaddress.IPv4Network(one, strict=False) for one in names if one]
    except ValueError as error:
        raise Invalid(f"setting {setting}: {error}") from error


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from `environ` (the process's by default) and its `NOVELLA_CONFIG` file.

    Raises Invalid for a value that is not of the setting's type.
    """
    environ = os.environ if environ is None else environ
    given: dict[str, Any] = {}
    if name := environ.get("NOVELLA_CONFIG"):
        try:
            given.update(tomllib.loads(Path(name).read_text()))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise Invalid(f"NOVELLA_CONFIG {name}: {error}") from error
    for field in fields(Settings):
        if (value := _from_environment(environ, f"NOVELLA_{field.name.upper()}")) is not None:
            given[field.name] = value
    unknown = sorted(set(given) - {field.name for field in fields(Settings)})
    if unknown:
        raise Invalid(f"unknown settings in NOVELLA_CONFIG: {', '.join(unknown)}")
    types = {field.name: str(field.type) for field in fields(Settings)}
    return replace(
        Settings(), **{name: _typed(name, types[name], value) for name, value in given.items()}
    )


def _from_environment(environ: Mapping[str, str], variable: str) -> str | None:
    """The variable's value, or what the file holds that `<variable>_FILE` names."""
    value, file = environ.get(variable), environ.get(f"{variable}_FILE")
    if not file:
        return value
    if value is not None:
        raise Invalid(f"{variable} and {variable}_FILE are both set: unset one of them")
    try:
        return Path(file).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{variable}_FILE {file}: {error}") from error


def _typed(name: str, wanted: str, value: Any) -> Any:
    try:
        if wanted == "bool":
            if isinstance(value, bool):
                return value
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[
                str(value).lower()
            ]
        if "Path" in wanted:
            return Path(str(value)).expanduser() if value else None
        return {"int": int, "float": float, "str": str}[wanted](value)
    except (KeyError, ValueError) as error:
        raise Invalid(f"setting {name}: {value!r} is not a {wanted}") from error


@functools.cache
def software() -> str:
    """This program's version, as it was installed; empty in a tree that was not."""
    try:
        return importlib.metadata.version("novella")
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.cache
def settings() -> Settings:
    """The process's settings, read once. For entry points and the task modules they start."""
    return load()
