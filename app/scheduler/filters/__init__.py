"""Filters: pure masks over the host table, each with the refusal that users read.

In the order of `DEFAULT`: a host is counted under the first filter that refuses it.
"""

from __future__ import annotations

from app.scheduler.filters import aggregates, basic, capabilities, groups, hints, load
from app.scheduler.rules import Filter

FILTERS: dict[str, Filter] = {
    rule.name: rule
    for module in (basic, load, capabilities, hints, groups, aggregates)
    for rule in module.FILTERS
}
"""All that are built in, by name."""

DEFAULT = (
    *("compute", "availability_zone", "forced_host", "retry", "vcpus", "ram", "disk", "traits"),
    *("compute_capabilities", "image_properties", "same_host", "different_host"),
    *("group_affinity", "group_anti_affinity"),
)
"""Those that are on unless the setting `filters` says otherwise."""
