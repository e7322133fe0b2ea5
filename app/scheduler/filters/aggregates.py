"""What the metadata of a host's aggregates allow on it. Values are lists, separated by commas."""

from __future__ import annotations

from app.domain.request_spec import RequestSpec
from app.scheduler.filters.operators import matches
from app.scheduler.host_table import Aggregates, HostTable, Mask
from app.scheduler.options import Options
from app.scheduler.rules import Filter

_SCOPE = "aggregate_instance_extra_specs"
_TENANTS = "filter_tenant_id"


def metadata(aggregates: Aggregates) -> dict[str, set[str]]:
    """All values of all keys."""
    found: dict[str, set[str]] = {}
    for one in aggregates:
        for key, value in one.metadata.items():
            found.setdefault(key, set()).update(part.strip() for part in value.split(","))
    return found


def instance_extra_specs(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """Hosts whose aggregates have what the flavor's extra specs want.

    Keys are in the namespace `aggregate_instance_extra_specs`, or in none.
    """
    wanted = []
    for key, value in spec.extra_specs.items():
        scope, colon, name = key.partition(":")
        if not colon or scope == _SCOPE:
            wanted.append((name if colon else key, value))
    if not wanted:
        return None

    def passes(aggregates: Aggregates) -> bool:
        has = metadata(aggregates)
        return all(any(matches(one, value) for one in has.get(key, ())) for key, value in wanted)

    return hosts.by_aggregates(passes)


def image_properties_isolation(
    hosts: HostTable, spec: RequestSpec, options: Options
) -> Mask | None:
    """Hosts whose aggregates do not name other values for one of the image's properties."""
    namespace = options.aggregate_image_properties_isolation_namespace
    prefix = ""
    if namespace:
        prefix = f"{namespace}{options.aggregate_image_properties_isolation_separator}"

    def passes(aggregates: Aggregates) -> bool:
        for key, values in metadata(aggregates).items():
            has = spec.image_properties.get(key) if key.startswith(prefix) else None
            if has and str(has) not in values:
                return False
        return True

    return hosts.by_aggregates(passes)


def multi_tenancy_isolation(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """Hosts of no aggregate with `filter_tenant_id…`, or of one that names the project there."""

    def passes(aggregates: Aggregates) -> bool:
        found = metadata(aggregates)
        tenants = set().union(*(found[key] for key in found if key.startswith(_TENANTS)))
        return not tenants or spec.project_id in tenants

    return hosts.by_aggregates(passes)


def type_affinity(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """Hosts of no aggregate with `instance_type`, or of one that names the flavor there."""

    def passes(aggregates: Aggregates) -> bool:
        types = metadata(aggregates).get("instance_type")
        return not types or spec.flavor_name in types

    return hosts.by_aggregates(passes)


FILTERS = (
    Filter(
        "aggregate_instance_extra_specs",
        "in no aggregate that the flavor wants",
        instance_extra_specs,
        "AggregateInstanceExtraSpecsFilter",
    ),
    Filter(
        "aggregate_image_properties_isolation",
        "in an aggregate kept for other images",
        image_properties_isolation,
        "AggregateImagePropertiesIsolation",
    ),
    Filter(
        "aggregate_multi_tenancy_isolation",
        "in an aggregate kept for other projects",
        multi_tenancy_isolation,
        "AggregateMultiTenancyIsolation",
    ),
    Filter(
        "aggregate_type_affinity",
        "in an aggregate kept for other flavors",
        type_affinity,
        "AggregateTypeAffinityFilter",
    ),
)
