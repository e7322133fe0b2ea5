"""The numbers and names that filters and the choice take from an operator's settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """As in Nova's `[filter_scheduler]`, by the same names and with the same defaults.

    `host_subset_size`: pick at random among so many of the best. The shuffle puts hosts of the
    best weight in random order; without it, the first by name wins.
    """

    host_subset_size: int = 1
    shuffle_best_same_weighed_hosts: bool = False
    max_instances_per_host: int = 50
    max_io_ops_per_host: int = 8
    isolated_hosts: frozenset[str] = frozenset()
    isolated_images: frozenset[str] = frozenset()
    restrict_isolated_hosts_to_isolated_images: bool = True
    image_properties_default_architecture: str | None = None
    aggregate_image_properties_isolation_namespace: str | None = None
    aggregate_image_properties_isolation_separator: str = "."
