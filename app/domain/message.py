"""What travels between control plane and hosts: frozen, versioned, plain data.

Everything that crosses a queue is built from these classes by `to_message` and read back by
`host_message` and `outcome`, which refuse a version that this code does not know. Fields that it
does not know, in a version that it does, are left out: whoever adds one that an older reader must
not overlook makes a new version (docs/decisions/0006-message-versions.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar

from app.domain.networking import Networking, networking
from app.domain.resources import Resources
from app.errors import Invalid

VERSION, OLDEST = 2, 1
"""The newest message version that this code speaks, and the oldest that it still does."""
GUARDS = 2
"""The version since which hosts guard their guests' ports, and are told of networking."""
_SINCE = dict.fromkeys(
    ("pause", "unpause", "suspend", "wake", "rebuild", "rescue", "unrescue")
    + ("snapshot", "attach", "detach", "password", "crash_dump", "precache"),
    2,
)
"""The version since which hosts know a stage, unless they always did."""
DO, UNDO = "do", "undo"


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Made = TypeVar("Made", bound=_Dataclass)


def newest() -> int:
    """The newest message version that this process speaks."""
    return VERSION


def common(theirs: int) -> int | None:
    """The newest version that both this code and one that speaks up to `theirs` know, if any."""
    return min(VERSION, theirs) if theirs >= OLDEST else None


def since(stage: str, plan: BuildPlan | None) -> int:
    """The version that a host must know to do that stage of a guest with that plan as it should:
    an older one has no such stage, or would start the guest with its ports unguarded."""
    guarded = plan is not None and any(nic.secured for nic in plan.nics)
    return max(_SINCE.get(stage, 1), GUARDS if guarded else 1)


def known(made: type[Made], data: Mapping[str, Any], **instead: Any) -> Made:
    """`made` of those of its fields that `data` has; a newer sender may tell more.

    `instead` has fields that are themselves made of parts of `data`. Raises TypeError when one
    is missing.
    """
    told = {one.name: data[one.name] for one in fields(made) if one.name in data}
    return made(**(told | instead))


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
    """One network interface: the port's id, its MAC, and its IPv4 address in its subnet.

    `segment` names its bridge (empty: its network's id), `host_address` is that bridge's own
    address (empty: the gateway's, or the subnet's first). A `nat` one leads out by itself.
    `routes` are (destination, next hop); `tag` is what the guest is told that it is for.
    """

    port_id: str
    mac: str
    address: str
    network_id: str
    network_name: str
    cidr: str
    gateway: str | None
    dns: tuple[str, ...] = ()
    mtu: int = 1500
    segment: str = ""
    host_address: str = ""
    nat: bool = True
    dhcp: bool = True
    routes: tuple[tuple[str, str], ...] = ()
    tag: str | None = None
    secured: bool = False

    @property
    def bridge(self) -> str:
        """What its bridge is named after."""
        return self.segment or self.network_id


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


@dataclass(frozen=True)
class ImageTarget:
    """Where a host sends the data of an image that it makes; `token` is good for that alone."""

    id: str
    url: str
    token: str

    def at(self, api_url: str) -> ImageTarget:
        """The same image, at where the API is for another machine."""
        return replace(self, url=image_url(api_url, self.id))


def image_url(api_url: str, image_id: str) -> str:
    """Where the API that is at `api_url` has an image's data."""
    return f"{api_url.rstrip('/')}/image/v2/images/{image_id}/file"


@dataclass(frozen=True)
class BuildPlan:
    """Everything a host needs to build a server's guest, frozen when the claim was made.

    `files` are base64 contents by path: a host that is older than they are leaves them out.
    """

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
    files: dict[str, str] = field(default_factory=dict, repr=False)
    networking: Networking | None = None


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
    version: int = field(default_factory=newest)


@dataclass(frozen=True)
class Outcome:
    """What a host found or did. `result` is one of RESULTS.

    `known_fence` is set for `stale`; `found` is what the effect has to tell; `power_state` is
    Nova's number (0 none, 1 running, 3 paused, 4 shut down, 6 crashed, 7 suspended).
    """

    key: Key
    server_id: str
    host: str
    result: str
    fault: Fault | None = None
    power_state: int = 0
    known_fence: int | None = None
    found: dict[str, Any] = field(default_factory=dict)
    request_id: str = ""
    version: int = field(default_factory=newest)


DONE, FAILED, STALE, ABSENT, NOT_COMMITTED = "done", "failed", "stale", "absent", "not_committed"
RESULTS = (DONE, FAILED, STALE, ABSENT, NOT_COMMITTED)


def to_message(thing: HostMessage | Outcome) -> dict[str, Any]:
    """`thing` as JSON-ready data, in the version that it bears."""
    return asdict(thing)


def host_message(data: dict[str, Any]) -> HostMessage:
    """Read a HostMessage back. Raises Invalid for another version or a broken shape."""
    _check_version(data)
    try:
        plan = data.get("plan")
        return known(
            HostMessage,
            data,
            key=known(Key, data["key"]),
            plan=build_plan(plan) if plan else None,
        )
    except (KeyError, TypeError) as error:
        raise Invalid(f"broken host message: {error}", code="broken_message") from error


def build_plan(data: dict[str, Any]) -> BuildPlan:
    """Read a BuildPlan back from plain data. Raises KeyError or TypeError when broken."""
    image = data.get("image")
    nics = tuple(_nic(nic) for nic in data["nics"])
    told = data.get("networking")
    return known(
        BuildPlan,
        data,
        image=known(ImageSource, image) if image else None,
        nics=nics,
        resources=known(Resources, data["resources"]),
        networking=networking(told) if told else None,
    )


def _nic(data: dict[str, Any]) -> Nic:
    routes = tuple((to, by) for to, by in data.get("routes", ()))
    return known(Nic, data, dns=tuple(data["dns"]), routes=routes)


def outcome(data: dict[str, Any]) -> Outcome:
    """Read an Outcome back. Raises Invalid for another version or a broken shape."""
    _check_version(data)
    try:
        fault = data.get("fault")
        return known(
            Outcome,
            data,
            key=known(Key, data["key"]),
            fault=known(Fault, fault) if fault else None,
        )
    except (KeyError, TypeError) as error:
        raise Invalid(f"broken outcome: {error}", code="broken_message") from error


def _check_version(data: dict[str, Any]) -> None:
    version = data.get("version")
    if not isinstance(version, int) or not OLDEST <= version <= VERSION:
        raise Invalid(
            f"message version {str(version)[:20]}; this worker knows {OLDEST} to {VERSION}. "
            "Nothing is lost: it is rung again until a worker that knows it takes it; bring all "
            "workers to one release",
            code="unknown_version",
        )
