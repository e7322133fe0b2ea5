"""Arrivals from a file: who asked for what in a real cloud, or would."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from app.domain.request_spec import RequestSpec
from app.errors import Invalid
from app.scheduler.simulation_demand import FOR_GOOD, Arrival

COLUMNS = {"at", "flavor", "lifetime", "count", "zone"}
MOST_AT_ONCE = 1_000
"""Servers in one request, as the API has it."""


def read(path: Path, flavors: Mapping[str, RequestSpec], limit: int | None) -> list[Arrival]:
    """The requests of a CSV file, by time; those for the first `limit` servers unless None.

    Its first line names the columns: `at` (seconds) and `flavor`, and where wanted `lifetime`
    (seconds; empty: for good), `count` (1) and `zone`. Raises Invalid with the line that is wrong.
    """
    found = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file, strict=True)
            _check_columns(path, rows.fieldnames or [])
            for row in rows:
                found.append(_arrival(f"{path}, line {rows.line_num}", row, flavors))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Invalid(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if not found:
        raise Invalid(f"{path}: nobody asks for a server in it")
    found.sort(key=lambda one: one.at)
    return found if limit is None else _first(found, limit)


def _first(requests: list[Arrival], limit: int) -> list[Arrival]:
    found: list[Arrival] = []
    for one in requests:
        if limit <= 0:
            break
        found.append(replace(one, lifetimes=one.lifetimes[:limit]))
        limit -= len(one.lifetimes)
    return found


def _check_columns(path: Path, names: object) -> None:
    given = list(names) if isinstance(names, list) else []
    unknown, missing = set(given) - COLUMNS, {"at", "flavor"} - set(given)
    if unknown or missing or len(set(given)) != len(given):
        wrong = ", ".join(sorted(map(str, unknown or missing))) or "one comes twice"
        raise Invalid(
            f"{path}: the first line must name the columns at, flavor and any of lifetime, count, "
            f"zone; {'unknown' if unknown else 'missing' if missing else 'wrong'}: {wrong}"
        )


def _arrival(where: str, row: Mapping[str, str], flavors: Mapping[str, RequestSpec]) -> Arrival:
    if None in row:
        raise Invalid(f"{where}: more values than columns")
    name = (row["flavor"] or "").strip()
    if name not in flavors:
        known = ", ".join(sorted(flavors))
        raise Invalid(
            f"{where}: no flavor is named {name!r}; --flavors defines others than {known}"
        )
    count = _number(where, "count", row.get("count") or "1")
    if count != int(count) or not 1 <= count <= MOST_AT_ONCE:
        raise Invalid(f"{where}: count is a whole number from 1 to {MOST_AT_ONCE}")
    stay = row.get("lifetime")
    lifetime = _number(where, "lifetime", stay) if stay else FOR_GOOD
    zone = (row.get("zone") or "").strip() or None
    at = _number(where, "at", row["at"])
    return Arrival(at, replace(flavors[name], zone=zone), (lifetime,) * int(count))


def _number(where: str, column: str, text: str | None) -> float:
    try:
        found = float(text or "")
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise Invalid(f"{where}: {column} is {text!r}, not a number from 0")
    return found
