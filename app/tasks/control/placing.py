"""What the scheduler is told: this cloud's policy, and a request's needs from the database."""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from app.config import Settings, settings
from app.domain.new_servers import NewServers
from app.domain.request_spec import RequestSpec
from app.domain.resources import Resources
from app.errors import Invalid
from app.models import Image, Server
from app.scheduler import plugins
from app.scheduler.host_table import HostTable
from app.scheduler.options import Options
from app.scheduler.policy import Policy, make
from app.scheduler.select import Selection, select
from app.store import hosts, server_groups
from app.tasks.control.live_table import live_table

CHANCE = random.SystemRandom()


@functools.cache
def policy() -> Policy:
    """The filters and weighers that the settings name, each tried once.

    Raises Invalid with the name of one that is unknown or fails: the worker does not start.
    """
    return policy_of(settings())


def policy_of(wanted: Settings) -> Policy:
    """The same for any settings."""
    made = make(
        _names(wanted.filters),
        _names(wanted.weighers),
        _multipliers(wanted.weight_multipliers),
        _options(wanted),
        plugins.load(),
    )
    plugins.prove(made)
    return made


def choose(table: HostTable, spec: RequestSpec, count: int) -> Selection:
    """Pick hosts by this cloud's policy; `table` is consumed."""
    return select(table, spec, count, settings().alternates, policy(), CHANCE)


def spec_of(session: Session, server: Server, tried: frozenset[str]) -> RequestSpec:
    """What a server needs, from its own row: flavor, image, hints."""
    image = session.get(Image, server.image_id) if server.image_id else None
    hints = server.scheduler_hints
    return RequestSpec(
        Resources(server.vcpus, server.ram_mb, server.disk_gb),
        zone=server.availability_zone,
        forced_host=server.forced_host,
        tried=tried,
        project_id=server.project_id,
        flavor_name=server.flavor_name,
        extra_specs=server.extra_specs,
        image_id=server.image_id,
        image_properties=image.properties if image else {},
        group=server_groups.group_of(session, server),
        same_host=_hosts(session, hints, "same_host"),
        different_host=_hosts(session, hints, "different_host"),
        near_address=_text(hints, "build_near_host_ip"),
        cidr=_text(hints, "cidr") or "/24",
        query=_text(hints, "query"),
    )


def spec_of_new(session: Session, project_id: str, wanted: NewServers) -> RequestSpec:
    """What servers need that are only asked about."""
    flavor = wanted.flavor
    server = Server(
        project_id=project_id,
        flavor_name=flavor.name,
        vcpus=flavor.resources.vcpus,
        ram_mb=flavor.resources.ram_mb,
        disk_gb=flavor.resources.disk_gb,
        extra_specs=flavor.extra_specs,
        image_id=wanted.image_id,
        scheduler_hints=wanted.scheduler_hints,
        availability_zone=wanted.availability_zone,
        forced_host=wanted.forced_host,
    )
    return spec_of(session, server, frozenset())


def table_of(session: Session, *, assuming: bool = False) -> HostTable:
    """All hosts as they are now, to be taken from; `assuming` as `LiveTable.copy` says."""
    return live_table().copy(session, assuming=assuming)


def _hosts(session: Session, hints: Mapping[str, Any], name: str) -> frozenset[str] | None:
    given = hints.get(name)
    if not given:
        return None
    ids = [str(one) for one in (given if isinstance(given, list) else [given])]
    return frozenset(hosts.of_servers(session, ids))


def _text(hints: Mapping[str, Any], name: str) -> str | None:
    given = hints.get(name)
    if isinstance(given, list):
        given = given[0] if given else None
    return None if given is None else str(given)


def _names(text: str) -> list[str] | None:
    return [name.strip() for name in text.split(",") if name.strip()] or None


def _multipliers(text: str) -> dict[str, float]:
    found = {}
    for part in _names(text) or []:
        name, _, number = part.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError as error:
            raise Invalid(f"weight_multipliers: {part!r} is not a name=number") from error
    return found


def _options(wanted: Settings) -> Options:
    return Options(
        host_subset_size=wanted.host_subset_size,
        shuffle_best_same_weighed_hosts=wanted.shuffle_best_same_weighed_hosts,
        max_instances_per_host=wanted.max_instances_per_host,
        max_io_ops_per_host=wanted.max_io_ops_per_host,
        isolated_hosts=frozenset(_names(wanted.isolated_hosts) or ()),
        isolated_images=frozenset(_names(wanted.isolated_images) or ()),
        restrict_isolated_hosts_to_isolated_images=(
            wanted.restrict_isolated_hosts_to_isolated_images
        ),
        image_properties_default_architecture=(
            wanted.image_properties_default_architecture or None
        ),
        aggregate_image_properties_isolation_namespace=(
            wanted.aggregate_image_properties_isolation_namespace or None
        ),
        aggregate_image_properties_isolation_separator=(
            wanted.aggregate_image_properties_isolation_separator
        ),
    )
