"""A cloud's hosts, servers, flavors and settings in a file, for a simulation to start from."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import jsonschema
from sqlalchemy.exc import SQLAlchemyError

from app.cli.simulate import policies
from app.cli.simulate.parameters import MOST, MOST_HOSTS
from app.config import settings
from app.domain.request_spec import RequestSpec
from app.domain.resources import NOTHING, Resources
from app.errors import Invalid, Unavailable
from app.models import Flavor
from app.redaction import redact_text
from app.scheduler.rows import AggregateRow, HostRow
from app.scheduler.simulation import Resident
from app.scheduler.simulation_cloud import rows_of
from app.store import database, migrations, placed
from app.tasks.control import placing

VERSION = 1
_RESOURCES = [field.name for field in fields(Resources)]
_HOST_NAMES = {one.name for one in fields(HostRow)}
_KEPT = {one.name for one in fields(RequestSpec)} - {
    # Room is looked for anew: where an administrator wanted it once, what failed then, and where
    # its group was do not count.
    *("resources", "forced_host", "tried", "group"),
}
_NUMBER = {"type": "integer", "minimum": 0, "maximum": 10**12}
_SIZE = {
    "type": "object",
    "required": _RESOURCES,
    "additionalProperties": False,
    "properties": {
        name: {"type": "integer", "minimum": 0, "maximum": getattr(MOST, name)}
        for name in _RESOURCES
    },
}
_TEXT = {"type": "string", "maxLength": 65535}
_RATIO = {"type": "number", "exclusiveMinimum": 0, "maximum": 10_000}
_HOST = {
    "type": "object",
    "required": ["name", "total"],
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(("name", "zone", "address", "hostname", "hypervisor_type", "facts"), _TEXT),
        **dict.fromkeys(("total", "used"), _SIZE),
        **dict.fromkeys(("cpu_ratio", "ram_ratio", "disk_ratio"), _RATIO),
        **dict.fromkeys(("reserved_ram_mb", "servers", "building", "failed_builds"), _NUMBER),
        "hypervisor_version": _NUMBER,
        "usable": {"type": "boolean"},
    },
}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_NAMES = {"type": ["array", "null"], "items": _TEXT}
_SPEC = {
    **dict.fromkeys(("zone", "image_id", "near_address", "query"), {"type": ["string", "null"]}),
    **dict.fromkeys(("project_id", "flavor_name", "cidr"), _TEXT),
    **dict.fromkeys(("same_host", "different_host"), _NAMES),
    "extra_specs": _TEXTS,
    "image_properties": {"type": "object"},
}
_SERVER = {
    "type": "object",
    "required": ["host", "resources"],
    "additionalProperties": False,
    "properties": {"host": _TEXT, "resources": _SIZE, **_SPEC},
}
_FLAVOR = {
    "type": "object",
    "required": ["name", "resources"],
    "additionalProperties": False,
    "properties": {"name": _TEXT, "resources": _SIZE, "extra_specs": _TEXTS},
}
_AGGREGATE = {
    "type": "object",
    "required": ["name", "hosts"],
    "additionalProperties": False,
    "properties": {"name": _TEXT, "hosts": {"type": "array", "items": _TEXT}, "metadata": _TEXTS},
}
SCHEMA = {
    "type": "object",
    "required": ["novella_snapshot", "hosts"],
    "properties": {
        "novella_snapshot": {"const": VERSION},
        "hosts": {"type": "array", "items": _HOST, "minItems": 1, "maxItems": MOST_HOSTS},
        "servers": {"type": "array", "items": _SERVER},
        "flavors": {"type": "array", "items": _FLAVOR},
        "aggregates": {"type": "array", "items": _AGGREGATE},
        "settings": {
            "type": "object",
            "additionalProperties": False,
            "properties": dict.fromkeys(policies.SETTINGS, _TEXT),
        },
    },
}


@dataclass(frozen=True)
class Snapshot:
    """A cloud at one moment; `settings` are those of its scheduler."""

    hosts: list[HostRow]
    residents: list[Resident] = field(default_factory=list)
    flavors: dict[str, RequestSpec] = field(default_factory=dict)
    aggregates: list[AggregateRow] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)


def of_cloud() -> Snapshot:
    """The cloud that the settings name, from its database.

    Raises Unavailable when that is away, or not as this version makes it.
    """
    where = redact_text(settings().database)
    try:
        current = migrations.is_current()
    except SQLAlchemyError as error:
        raise Unavailable(f"database {where} cannot be read; check database_url") from error
    if not current:
        raise Unavailable(f"database {where}: the schema is not the newest: `novella db upgrade`")
    with database.reading() as session:
        hosts, aggregates = rows_of(placing.table_of(session))
        residents = []
        for allocation, server in placed.allocations(session):
            size = Resources(allocation.vcpus, allocation.ram_mb, allocation.disk_gb)
            spec = placing.spec_of(session, server, frozenset())
            residents.append(Resident(allocation.host, _kept(spec, size)))
        flavors = {one.name: _flavor(one) for one in placed.flavors(session)}
    known = {row.name for row in hosts}
    residents = [one for one in residents if one.host in known]  # else it joined meanwhile
    hosts = [_covering(row, mine) for row, mine in _with_residents(hosts, residents)]
    return Snapshot(hosts, residents, flavors, aggregates, policies.present(settings()))


def _flavor(one: Flavor) -> RequestSpec:
    size = Resources(one.vcpus, one.ram_mb, one.disk_gb)
    return RequestSpec(size, flavor_name=one.name, extra_specs=one.extra_specs)


def _kept(spec: RequestSpec, size: Resources) -> RequestSpec:
    return RequestSpec(size, **{name: getattr(spec, name) for name in _KEPT})


def _with_residents(
    hosts: Iterable[HostRow], residents: Iterable[Resident]
) -> list[tuple[HostRow, list[Resources]]]:
    found: dict[str, list[Resources]] = defaultdict(list)
    for one in residents:
        found[one.host].append(one.spec.resources)
    return [(row, found[row.name]) for row in hosts]


def _covering(row: HostRow, servers: list[Resources]) -> HostRow:
    """The row with at least what its servers take: some were placed between two looks."""
    least = _sum(servers)
    used = Resources(*(max(getattr(row.used, n), getattr(least, n)) for n in _RESOURCES))
    return replace(row, used=used, servers=max(row.servers, len(servers)))


def _sum(servers: list[Resources]) -> Resources:
    return Resources(*(sum(getattr(one, name) for one in servers) for name in _RESOURCES))


def as_json(given: Snapshot) -> dict[str, Any]:
    """What `read` reads: SCHEMA."""
    return {
        "novella_snapshot": VERSION,
        "settings": given.settings,
        "hosts": [asdict(row) for row in given.hosts],
        "aggregates": [
            {"name": one.name, "hosts": sorted(one.hosts), "metadata": dict(one.metadata)}
            for one in given.aggregates
        ],
        "flavors": [
            {
                "name": name,
                "resources": asdict(spec.resources),
                "extra_specs": dict(spec.extra_specs),
            }
            for name, spec in given.flavors.items()
        ],
        "servers": [_server(one) for one in given.residents],
    }


def _server(one: Resident) -> dict[str, Any]:
    plain = RequestSpec(NOTHING)
    told = {name: getattr(one.spec, name) for name in sorted(_KEPT)}
    told = {name: value for name, value in told.items() if value != getattr(plain, name)}
    told = {n: sorted(v) if isinstance(v, frozenset) else v for n, v in told.items()}
    return {"host": one.host, "resources": asdict(one.spec.resources), **told}


def read(path: Path) -> Snapshot:
    """The snapshot in a file. Raises Invalid with the place in it that is wrong."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Invalid(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    wrong = next(jsonschema.Draft202012Validator(SCHEMA).iter_errors(value), None)
    if wrong is not None:
        raise Invalid(f"{path}: {wrong.json_path}: {wrong.message[:300]}")
    return _checked(path, value)


def _checked(path: Path, value: Mapping[str, Any]) -> Snapshot:
    hosts = sorted((_host(path, one) for one in value["hosts"]), key=lambda row: row.name)
    names = {row.name for row in hosts}
    if len(names) != len(hosts):
        raise Invalid(f"{path}: two hosts have the same name")
    residents = [Resident(one["host"], _spec(one)) for one in value.get("servers", ())]
    if strangers := {one.host for one in residents} - names:
        raise Invalid(f"{path}: servers are on hosts that it does not have: {_few(strangers)}")
    covered = [_covering(row, mine) for row, mine in _with_residents(hosts, residents)]
    for row, covering in zip(hosts, covered, strict=True):
        if row.used != covering.used:
            raise Invalid(f"{path}: the servers on host {row.name} take more than it says is used")
    flavors = {
        one["name"]: RequestSpec(
            Resources(**one["resources"]),
            flavor_name=one["name"],
            extra_specs=one.get("extra_specs", {}),
        )
        for one in value.get("flavors", ())
    }
    aggregates = [
        AggregateRow(one["name"], frozenset(one["hosts"]), one.get("metadata", {}))
        for one in value.get("aggregates", ())
    ]
    return Snapshot(covered, residents, flavors, aggregates, dict(value.get("settings", {})))


def _host(path: Path, given: Mapping[str, Any]) -> HostRow:
    row = HostRow(
        **{name: value for name, value in given.items() if name not in ("total", "used")},
        total=Resources(**given["total"]),
        used=Resources(**given["used"]) if "used" in given else NOTHING,
    )
    try:
        facts = json.loads(row.facts)
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise Invalid(f"{path}: the facts of host {row.name} are no JSON object")
    return row


def _spec(given: Mapping[str, Any]) -> RequestSpec:
    told = {name: value for name, value in given.items() if name in _KEPT}
    for name in ("same_host", "different_host"):
        if told.get(name) is not None:
            told[name] = frozenset(told[name])
    return RequestSpec(Resources(**given["resources"]), **told)


def _few(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
