"""How this cloud places: its filters and weighers in their order, and the options of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from app.errors import Invalid
from app.scheduler import filters, weighers
from app.scheduler.options import Options
from app.scheduler.rules import Filter, Weigher

Rule = TypeVar("Rule", Filter, Weigher)


@dataclass(frozen=True)
class Policy:
    """What a choice is made by."""

    filters: tuple[Filter, ...] = tuple(filters.FILTERS[name] for name in filters.DEFAULT)
    weighers: tuple[Weigher, ...] = tuple(weighers.WEIGHERS.values())
    options: Options = field(default_factory=Options)


DEFAULT = Policy()


@dataclass(frozen=True)
class Rules:
    """All filters and weighers that are known, built in or from other packages."""

    filters: Mapping[str, Filter] = field(default_factory=lambda: filters.FILTERS)
    weighers: Mapping[str, Weigher] = field(default_factory=lambda: weighers.WEIGHERS)


def make(
    filter_names: Sequence[str] | None = None,
    weigher_names: Sequence[str] | None = None,
    multipliers: Mapping[str, float] | None = None,
    options: Options | None = None,
    rules: Rules | None = None,
) -> Policy:
    """The policy of these names, ours or Nova's, in their order; the defaults for None.

    Raises Invalid, with the name, for one that is not known.
    """
    known = rules or Rules()
    chosen = _named(known.filters, filters.DEFAULT if filter_names is None else filter_names)
    names = list(weighers.WEIGHERS) if weigher_names is None else weigher_names
    factors = {
        _named(known.weighers, [name])[0].name: factor
        for name, factor in (multipliers or {}).items()
    }
    weighed = [
        replace(one, multiplier=factors.get(one.name, one.multiplier))
        for one in _named(known.weighers, names)
    ]
    return Policy(tuple(chosen), tuple(weighed), options or Options())


def _named(known: Mapping[str, Rule], names: Sequence[str]) -> list[Rule]:
    aliases = {rule.nova: rule for rule in known.values() if rule.nova} | dict(known)
    found = []
    for name in names:
        if name not in aliases:
            raise Invalid(f"no filter or weigher is named {name!r}: there are {sorted(known)}")
        found.append(aliases[name])
    return found
