"""What workers post in Redis: heartbeats and inventories; and the epoch that tells of lost data.

Both sides read and write here, so it knows neither database nor hypervisor.
"""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass, field
from typing import Any

import redis

from app import broker, logs
from app.config import settings
from app.domain.message import Key, known, newest

log = logs.get(__name__)
VERSION = 1
"""Of inventories. Beats have none that matters: they only ever grow, and whoever cannot read one
would take its host for dead."""
AWAY = broker.AWAY
"""What publishing and posting raise when the broker is away."""
BEAT_TTL = 120
INVENTORY_TTL = 900
CONTROL_TTL = 20


@dataclass(frozen=True)
class Sighting:
    """One accepted, unfinished task of a host, waiting ones too; percent is 0 to 100."""

    key: Key
    percent: int = 0
    message: str = ""
    started: bool = False


@dataclass(frozen=True)
class Beat:
    """A host's sign of life. `generation` is that of its newest inventory in this session.

    `speaks` is the newest message version that its worker knows, `software` its program's
    version, `at` when it was said (seconds since the epoch, by the host's own clock), `caching`
    percents by the ids of images that it fetches ahead of builds.
    """

    host: str
    cloud_id: str
    host_uuid: str
    session: str
    seq: int
    driver_ok: bool
    generation: int
    tasks: tuple[Sighting, ...] = ()
    version: int = VERSION
    speaks: int = field(default_factory=newest)
    at: float = 0.0
    software: str = ""
    caching: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ControlBeat:
    """A scheduler worker's sign of life: which of the control queues it serves, and when it said so
    (seconds since the epoch, by its own clock)."""

    name: str
    queues: tuple[str, ...]
    at: float
    software: str = ""


@dataclass(frozen=True)
class Entry:
    """A guest as its host knows it; `fence` is the highest of journal and guest.

    `busy`: a task works on it, so its power state means nothing. `restart`: it was shut off by
    the host's own restart, not by its owner or itself.
    """

    server_id: str
    fence: int
    committed: bool
    power_state: int
    busy: bool = False
    restart: bool = False


@dataclass(frozen=True)
class Posting:
    """A host's inventory, with the facts that its row is made of.

    `leases` are its DHCP entries as (server id, MAC, address); None of an older worker.
    """

    host: str
    cloud_id: str
    host_uuid: str
    session: str
    generation: int
    complete: bool
    boot_id: str
    facts: dict[str, Any] = field(default_factory=dict)
    guests: tuple[Entry, ...] = ()
    leftovers: tuple[tuple[str, int], ...] = ()
    leases: tuple[tuple[str, str, str], ...] | None = None
    speaks: int = field(default_factory=newest)
    version: int = field(default_factory=lambda: VERSION)


@functools.cache
def client() -> redis.Redis:
    """A Redis client with short time limits: whoever asks must not hang with Redis."""
    return broker.redis_client(settings().results)


def post_beat(beat: Beat) -> None:
    """Post a heartbeat. Raises redis.RedisError."""
    with client().pipeline(transaction=False) as pipe:
        pipe.sadd("hosts", beat.host)
        pipe.set(f"hb:{beat.host}", json.dumps(asdict(beat)), ex=BEAT_TTL)
        pipe.execute()


def beats() -> list[Beat]:
    """The newest heartbeat of every host. Raises redis.RedisError."""
    names = sorted(str(name) for name in client().smembers("hosts"))
    texts = client().mget([f"hb:{name}" for name in names]) if names else []
    return [beat for text in texts if text and (beat := _beat(str(text)))]


def _beat(text: str) -> Beat | None:
    try:
        data = json.loads(text)
        tasks = tuple(known(Sighting, t, key=known(Key, t["key"])) for t in data["tasks"])
        return known(Beat, data, tasks=tasks)
    except (KeyError, TypeError, ValueError) as error:
        log.warning("a heartbeat cannot be read", reason=str(error), start=text[:60])
        return None


def post_control(beat: ControlBeat) -> None:
    """Post a scheduler worker's sign of life. Raises redis.RedisError."""
    with client().pipeline(transaction=True) as pipe:
        pipe.sadd("controls", beat.name)
        pipe.set(f"control:{beat.name}", json.dumps(asdict(beat)), ex=CONTROL_TTL)
        pipe.execute()


def controls() -> list[ControlBeat]:
    """Every scheduler worker that lives, by name. Raises redis.RedisError."""
    names = sorted(str(name) for name in client().smembers("controls"))
    texts = client().mget([f"control:{name}" for name in names]) if names else []
    gone = [name for name, text in zip(names, texts, strict=True) if text is None]
    if gone:
        client().srem("controls", *gone)
    read = [json.loads(str(text)) for text in texts if text is not None]
    return [known(ControlBeat, one, queues=tuple(one["queues"])) for one in read]


def post_inventory(posting: Posting) -> None:
    """Post an inventory. Raises redis.RedisError."""
    client().set(f"inv:{posting.host}", json.dumps(asdict(posting)), ex=INVENTORY_TTL)


def inventory(host: str) -> Posting | None:
    """The newest inventory of a host; None when there is none that can be read here.

    Raises redis.RedisError.
    """
    text = client().get(f"inv:{host}")
    data = json.loads(str(text)) if text else None
    if data is None:
        return None
    if data.get("version") != VERSION:
        log.warning(
            "inventory refused; it is rung again until a worker that knows it takes it: bring all "
            "workers to one release",
            host=host,
            version=str(data.get("version"))[:20],
            known=VERSION,
        )
        return None
    guests = tuple(known(Entry, entry) for entry in data["guests"])
    leftovers = tuple((server, fence) for server, fence in data["leftovers"])
    told = data.get("leases")
    leases = None if told is None else tuple((one, mac, address) for one, mac, address in told)
    speaks = data.get("speaks", 1)  # before hosts told it here, there was no other
    return known(Posting, data, guests=guests, leftovers=leftovers, leases=leases, speaks=speaks)


def announce(cloud_id: str) -> None:
    """Tell hosts the cloud's id, for those that were not configured with it."""
    client().set("cloud", cloud_id)


def cloud_id() -> str | None:
    """The announced cloud id. Raises redis.RedisError."""
    announced = client().get("cloud")
    return str(announced) if announced else None


def epoch(fresh: str) -> str:
    """The epoch that stands in Redis; `fresh` becomes it when there is none (data was lost)."""
    client().set("epoch", fresh, nx=True)
    return str(client().get("epoch"))


def refuse(host: str, host_uuid: str, reason: str) -> None:
    """Tell the machine `host_uuid` that it cannot be `host`."""
    client().set(f"refused:{host}:{host_uuid}", reason, ex=60)


def refusal(host: str, host_uuid: str) -> str | None:
    """Why this machine cannot be `host`, if it cannot. Raises redis.RedisError."""
    reason = client().get(f"refused:{host}:{host_uuid}")
    return str(reason) if reason else None


def answer(request_id: str, content: dict[str, Any], seconds: int) -> None:
    """Answer a read-only host call. Raises redis.RedisError."""
    with client().pipeline(transaction=True) as pipe:
        pipe.rpush(f"answer:{request_id}", json.dumps(content))
        pipe.expire(f"answer:{request_id}", seconds)
        pipe.execute()


def await_answer(request_id: str, seconds: float) -> dict[str, Any] | None:
    """The answer to a read-only host call, or None after `seconds`."""
    with broker.redis_client(settings().results, seconds + 1.0) as waiting:
        popped = waiting.blpop([f"answer:{request_id}"], timeout=seconds)
    return json.loads(popped[1]) if popped else None
