"""What travels between control plane and hosts: frozen, versioned, plain data.

Everything that crosses a queue is built from these classes by `to_message` and read back by
`from_message`, which refuses a version that this code does not know.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from app.domain.resources import Resources
from app.errors import Invalid

VERSION = 1
DO, UNDO = "do", "undo"


@dataclass(frozen=True)
class Key:
    """What "the same message" means: all four are equal."""

    action_id: str
    fence: int
    stage: str
    direction: str = DO


@dataclass(frozen=True)
class Fault:
    """Why something failed; `retriable`: another host may do.

    `stage`, `host` and `todo` (what to do next, see `app.domain.advice`) are added by the
    control plane.
    """

    code: str
    message: str
    retriable: bool = False
    stage: str | None = None
    host: str | None = None
    todo: str = ""


@dataclass(frozen=True)
class Nic:
    """One network interface: the port's id, its MAC, and its IPv4 address in its subnet."""

    port_id: str
    mac: str
    address: str
    network_id: str
    network_name: str
    cidr: str
    gateway: str | None
    dns: tuple[str, ...] = ()
    mtu: int = 1500


@dataclass(frozen=True)
class ImageSource:
    """Where a host gets a base image. `url` and `token` are valid for this action only."""

    id: str
    url: str
    token: str
    size: int
    checksum_algorithm: str
    checksum: str
    disk_format: str

    def at(self, api_url: str) -> ImageSource:
        """The same image, from where the API is for another machine."""
        return replace(self, url=image_url(api_url, self.id))


def image_url(api_url: str, image_id: str) -> str:
    """Where the API that is at `api_url` has an image's data."""
    return f"{api_url.rstrip('/')}/image/v2/images/{image_id}/file"


@dataclass(frozen=True)
class BuildPlan:
    """Everything a host needs to build a server's guest, frozen when the claim was made."""

    server_id: str
    project_id: str
    user_id: str
    fence: int
    name: str
    hostname: str
    flavor_name: str
    resources: Resources
    image: ImageSource | None
    nics: tuple[Nic, ...]
    availability_zone: str
    metadata: dict[str, str] = field(default_factory=dict)
    user_data: str | None = field(default=None, repr=False)
    key_name: str | None = None
    public_key: str | None = None
    launch_index: int = 0
    reservation_id: str = ""


@dataclass(frozen=True)
class HostMessage:
    """One stage for one host. `session` and `host_uuid` are those that it was sent to."""

    cloud_id: str
    key: Key
    kind: str
    server_id: str
    host: str
    host_uuid: str
    session: str
    request_id: str
    plan: BuildPlan | None = None
    args: dict[str, Any] = field(default_factory=dict)
    version: int = VERSION


@dataclass(frozen=True)
class Outcome:
    """What a host found or did. `result` is one of RESULTS.

    `fence` in `known_fence` is set for `stale`; `power_state` is Nova's number (0 none,
    1 running, 3 paused, 4 shut down, 6 crashed, 7 suspended).
    """

    key: Key
    server_id: str
    host: str
    result: str
    fault: Fault | None = None
    power_state: int = 0
    known_fence: int | None = None
    request_id: str = ""
    version: int = VERSION


DONE, FAILED, STALE, ABSENT, NOT_COMMITTED = "done", "failed", "stale", "absent", "not_committed"
RESULTS = (DONE, FAILED, STALE, ABSENT, NOT_COMMITTED)


def to_message(thing: HostMessage | Outcome) -> dict[str, Any]:
    """`thing` as JSON-ready data."""
    return asdict(thing)


def host_message(data: dict[str, Any]) -> HostMessage:
    """Read a HostMessage back. Raises Invalid for another version or a broken shape."""
    _check_version(data)
    try:
        plan = data.get("plan")
        rest = {name: value for name, value in data.items() if name not in ("key", "plan")}
        return HostMessage(key=Key(**data["key"]), plan=build_plan(plan) if plan else None, **rest)
    except (KeyError, TypeError) as error:
        raise Invalid(f"broken host message: {error}", code="broken_message") from error


def build_plan(data: dict[str, Any]) -> BuildPlan:
    """Read a BuildPlan back from plain data. Raises KeyError or TypeError when broken."""
    image = data.get("image")
    nics = tuple(Nic(**{**nic, "dns": tuple(nic["dns"])}) for nic in data["nics"])
    rest = {k: v for k, v in data.items() if k not in ("image", "nics", "resources")}
    return BuildPlan(
        image=ImageSource(**image) if image else None,
        nics=nics,
        resources=Resources(**data["resources"]),
        **rest,
    )


def outcome(data: dict[str, Any]) -> Outcome:
    """Read an Outcome back. Raises Invalid for another version or a broken shape."""
    _check_version(data)
    try:
        fault = data.get("fault")
        rest = {name: value for name, value in data.items() if name not in ("key", "fault")}
        return Outcome(key=Key(**data["key"]), fault=Fault(**fault) if fault else None, **rest)
    except (KeyError, TypeError) as error:
        raise Invalid(f"broken outcome: {error}", code="broken_message") from error


def _check_version(data: dict[str, Any]) -> None:
    if data.get("version") != VERSION:
        raise Invalid(
            f"message version {data.get('version')!r}, this worker knows {VERSION}",
            code="unknown_version",
        )
