"""A parsed and checked `POST /servers`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.domain.resources import Resources


@dataclass(frozen=True)
class WantedNic:
    """One network to be attached to, with an address of the caller's choice or any.

    Or by a port that is there. `tag` is the device's name for the guest.
    """

    network_id: str
    fixed_ip: str | None = None
    port_id: str | None = None
    tag: str | None = None


@dataclass(frozen=True)
class FlavorCopy:
    """What a server keeps of its flavor: it lives on when the flavor is changed or deleted."""

    id: str
    name: str
    resources: Resources
    ephemeral_gb: int = 0
    swap_mb: int = 0
    extra_specs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NewServers:
    """`min_count` to `max_count` equal servers; with more than one, names get `-1`, `-2`, ….

    `user_data` is base64 text as it came, and so are the contents of `files` by path; `image_id`
    names an active image that the caller may see; `nics` is empty for a server without network;
    `security_groups` are (id, name) of those that the ports made for the servers will be in;
    `disk_config` is AUTO or MANUAL.
    """

    name: str
    flavor: FlavorCopy
    image_id: str
    nics: tuple[WantedNic, ...]
    security_groups: tuple[tuple[str, str], ...] = ()
    min_count: int = 1
    max_count: int = 1
    description: str | None = None
    hostname: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    user_data: str | None = field(default=None, repr=False)
    key_name: str | None = None
    public_key: str | None = None
    files: dict[str, str] = field(default_factory=dict, repr=False)
    image_properties: dict[str, str] = field(default_factory=dict)
    config_drive: bool = False
    disk_config: str = "MANUAL"
    scheduler_hints: dict[str, Any] = field(default_factory=dict)
    group_id: str | None = None
    tags: tuple[str, ...] = ()
    availability_zone: str | None = None
    forced_host: str | None = None
    access_ipv4: str | None = None
    access_ipv6: str | None = None
