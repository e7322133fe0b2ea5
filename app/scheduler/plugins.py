"""Filters and weighers of other packages, by the entry points that they declare.

An entry point of the group `novella.filters` or `novella.weighers` names a `Filter` or a
`Weigher`. One that is written for one host at a time is wrapped by `per_host` or `per_host_weight`.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.domain.request_spec import RequestSpec
from app.domain.resources import Resources
from app.errors import Invalid
from app.scheduler import attributes, filters, weighers
from app.scheduler.host_table import Aggregates, Floats, HostTable, Mask
from app.scheduler.options import Options
from app.scheduler.policy import Policy, Rules
from app.scheduler.rows import AggregateRow, HostRow
from app.scheduler.rules import Filter, Weigher

GROUPS = ("novella.filters", "novella.weighers")


@dataclass(frozen=True)
class OneHost:
    """One host as Nova's rules see it: `attributes` by Nova's names, its zone and aggregates."""

    name: str
    attributes: dict[str, Any]
    zone: str
    aggregates: Aggregates


def each(hosts: HostTable) -> Iterable[OneHost]:
    """The table's hosts, one after the other."""
    names = sorted(attributes.NAMES)
    columns = [attributes.column(hosts, name) or [None] * len(hosts) for name in names]
    zones = [hosts.zones.values[code] for code in hosts.zones.codes]
    for position, name in enumerate(hosts.names):
        has = {key: values[position] for key, values in zip(names, columns, strict=True)}
        yield OneHost(name, has, zones[position], hosts.aggregates_of(position))


def per_host(passes: Callable[[OneHost, RequestSpec], bool]) -> Callable[..., Mask]:
    """A mask from a function that judges one host; slow over thousands of them."""

    def mask(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask:
        return np.array([bool(passes(host, spec)) for host in each(hosts)], dtype=bool)

    return mask


def per_host_weight(weight: Callable[[OneHost, RequestSpec], float]) -> Callable[..., Floats]:
    """A weigher's column from a function that weighs one host; slow over thousands of them."""

    def weigh(hosts: HostTable, spec: RequestSpec, options: Options) -> Floats:
        return np.array([float(weight(host, spec)) for host in each(hosts)], dtype=float)

    return weigh


def load() -> Rules:
    """All rules, with those of installed packages.

    Raises Invalid, with the entry point's name, for one that cannot be imported, is no rule, or
    bears a name that is taken.
    """
    found_filters: dict[str, Filter] = dict(filters.FILTERS)
    found_weighers: dict[str, Weigher] = dict(weighers.WEIGHERS)
    for one in importlib.metadata.entry_points(group=GROUPS[0]):
        _add(found_filters, one, Filter)
    for one in importlib.metadata.entry_points(group=GROUPS[1]):
        _add(found_weighers, one, Weigher)
    return Rules(found_filters, found_weighers)


def _add(known: dict[str, Any], point: importlib.metadata.EntryPoint, kind: type) -> None:
    where = f"entry point {point.name!r} of {point.group} ({point.value})"
    try:
        rule = point.load()
    except Exception as error:  # another package's code
        raise Invalid(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(rule, Filter | Weigher) or not isinstance(rule, kind):
        raise Invalid(f"{where} is no {kind.__name__}")
    if rule.name in known:
        raise Invalid(f"{where} bears a name that is taken: {rule.name!r}")
    known[rule.name] = rule


def prove(policy: Policy) -> None:
    """Try every rule once on a table of two hosts.

    Raises Invalid, with the rule's name, when one fails or answers in a wrong shape.
    """
    rows = [HostRow(name, Resources(4, 4096, 40)) for name in ("trial-1", "trial-2")]
    table = HostTable(rows, [AggregateRow("trial", frozenset({"trial-1"}))])
    spec = RequestSpec(Resources(1, 1, 1))
    for rule in policy.filters:
        _tried(rule.name, rule.mask, table, (spec, policy.options), bool)
    for weigher in policy.weighers:
        _tried(weigher.name, weigher.weigh, table, (spec, policy.options), float)


def _tried(
    name: str, call: Callable[..., Any], table: HostTable, given: tuple[Any, ...], kind: type
) -> None:
    try:
        answer = call(table, *given)
    except Exception as error:  # another package's code
        raise Invalid(f"{name} fails on a trial: {type(error).__name__}: {error}") from error
    if answer is None:
        return
    if np.shape(answer) != (2,) or np.asarray(answer).dtype != np.dtype(kind):
        what = f"an array of two {kind.__name__}"
        raise Invalid(f"{name} answers {answer!r} for two hosts: not {what}")
