"""How much a host has to do already."""

from __future__ import annotations

import numpy as np

from app.domain.request_spec import RequestSpec
from app.scheduler.host_table import HostTable, Mask, least
from app.scheduler.options import Options
from app.scheduler.rules import Filter


def num_instances(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask:
    """Hosts with fewer servers than `max_instances_per_host`."""
    return np.asarray(hosts.servers < options.max_instances_per_host)


def io_ops(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask:
    """Hosts with fewer builds in flight than `max_io_ops_per_host`."""
    return np.asarray(hosts.building < options.max_io_ops_per_host)


def aggregate_num_instances(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask:
    """As `num_instances`, with the least number that the host's aggregates set."""
    return np.asarray(
        hosts.servers < _limit(hosts, "max_instances_per_host", options.max_instances_per_host)
    )


def aggregate_io_ops(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask:
    """As `io_ops`, with the least number that the host's aggregates set."""
    return np.asarray(
        hosts.building < _limit(hosts, "max_io_ops_per_host", options.max_io_ops_per_host)
    )


def _limit(hosts: HostTable, key: str, default: int) -> np.ndarray:
    return hosts.from_aggregates(lambda found: least(found, key, int, default))


FULL = "full: with as many servers as allowed"
BUSY = "busy: with as many builds as allowed"
FILTERS = (
    Filter("num_instances", FULL, num_instances, "NumInstancesFilter"),
    Filter("io_ops", BUSY, io_ops, "IoOpsFilter"),
    Filter("aggregate_num_instances", FULL, aggregate_num_instances, "AggregateNumInstancesFilter"),
    Filter("aggregate_io_ops", BUSY, aggregate_io_ops, "AggregateIoOpsFilter"),
)
