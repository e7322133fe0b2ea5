"""The tables: for each policy how its cloud filled, and all policies at the end."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

import click
from rich import box
from rich.console import Console
from rich.table import Table

from app.cli.simulate.results import Figure, Result
from app.scheduler.simulation import Outcome
from app.scheduler.simulation_figures import RESOURCES, Moment

UNITS = ((604800.0, "w"), (86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
PARTS = (0.25, 0.5, 0.75)
TITLES = {"vcpus": "vCPUs", "ram_mb": "RAM", "disk_gb": "disk"}


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _ratio(value: float) -> str:
    return f"{value:.3f}"


@dataclass(frozen=True)
class Line:
    """A row of the tables."""

    title: str
    figure: Figure
    told: Callable[[float], str] = _whole


def _by_resource(title: str, name: str, told: Callable[[float], str]) -> list[Line]:
    def figure(resource: str) -> Figure:
        return lambda moment: float(getattr(moment, name).get(resource, 0.0))

    return [Line(f"{title} {TITLES[one]}", figure(one), told) for one in RESOURCES]


_COUNTS = (
    Line("servers asked for", lambda moment: moment.counts.asked),
    Line("placed", lambda moment: moment.counts.placed),
    Line("refused", lambda moment: moment.counts.refused),
    Line("left", lambda moment: moment.counts.left),
    Line("moved off lost hosts", lambda moment: moment.counts.moved),
    Line("homeless", lambda moment: moment.counts.homeless),
    Line("servers on hosts", lambda moment: moment.servers),
    Line("hosts", lambda moment: moment.hosts),
)
_OPTIONAL = {"left", "moved off lost hosts", "homeless"}


def _lines(results: Sequence[Result]) -> list[Line]:
    counts = [
        line
        for line in _COUNTS
        if line.title not in _OPTIONAL or any(any(one.ends(line.figure)) for one in results)
    ]
    large = next(iter(results[0].outcomes.values())).largest
    name = (large.flavor_name or "the largest flavor") if large else "the largest flavor"
    return [
        *counts,
        *_by_resource("used", "used", _percent),
        Line(f"{name}: still fit", lambda moment: moment.largest_fit),
        Line(f"{name}: fit, were all room in one", lambda moment: moment.largest_ideal),
        Line("fragmentation", lambda moment: moment.fragmentation, _percent),
        *_by_resource("stranded", "stranded", _percent),
        *_by_resource("imbalance", "imbalance", _ratio),
    ]


def show(file: TextIO, results: Sequence[Result]) -> None:
    """Print all tables, never cut off: what is piped must be whole."""
    lines = _lines(results)
    for one in results:
        _print(file, _over_time(one, lines))
        click.echo(f"{_footnote(one)}\n", file)
    if len(results) > 1:
        _print(file, _compared(results, lines))


def _print(file: TextIO, table: Table) -> None:
    console = Console(file=file, highlight=False)
    wide = console.options.update(width=10_000)
    console.width = max(console.width, console.measure(table, options=wide).maximum)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()), file)


def _over_time(result: Result, lines: Sequence[Line]) -> Table:
    seeds = len(result.outcomes)
    title = f"policy {result.named.label}" + (f", mean of {seeds} seeds" if seeds > 1 else "")
    table = _table(title, "")
    columns = [_moments(one) for one in result.outcomes.values()]
    shown = _different(columns[0])
    for key in shown:
        table.add_column(f"{key}\n{time_told(columns[0][key].at)}", justify="right")
    for line in lines:
        means = [statistics.fmean(line.figure(one[key]) for one in columns) for key in shown]
        table.add_row(line.title, *(line.told(mean) for mean in means))
    return table


def _moments(outcome: Outcome) -> dict[str, Moment]:
    """Start and end, when so many were asked for, and just before and after hosts were lost."""
    moments, total = outcome.moments, outcome.end.counts.asked
    found = {"start": moments[0]}
    for part in PARTS if total else ():
        found[f"{part:.0%}"] = next(one for one in moments if one.counts.asked >= part * total)
    pairs = zip(moments, moments[1:], strict=False)
    for before, after in pairs:
        if after.counts.lost_hosts != before.counts.lost_hosts:
            found |= {"before loss": before, "after loss": after}
    return found | {"end": outcome.end}


def _different(moments: dict[str, Moment]) -> list[str]:
    """The moments' names by time, without those that are equal to another."""
    found: list[str] = []
    for key, one in sorted(moments.items(), key=lambda pair: _order(pair[1])):
        if all(moments[other] != one for other in found):
            found.append(key)
    return found


def _order(moment: Moment) -> tuple[float, int, int]:
    return moment.at, moment.counts.asked, moment.counts.lost_hosts


def _footnote(result: Result) -> str:
    rates = result.rates()
    parts = [f"{statistics.fmean(rates):,.0f} decisions/s of CPU time"]
    if shares := result.refusals():
        told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        parts.append(f"what refused hosts to servers that fitted nowhere: {told}")
    return "; ".join(parts)


def _compared(results: Sequence[Result], lines: Sequence[Line]) -> Table:
    table = _table("at the end", "")
    for one in results:
        table.add_column(one.named.label, justify="right", overflow="fold")
    for line in lines:
        table.add_row(line.title, *(_spread(one.ends(line.figure), line.told) for one in results))
    table.add_row("decisions/s", *(_spread(one.rates(), _whole) for one in results))
    return table


def _spread(values: Sequence[float], told: Callable[[float], str]) -> str:
    mean = told(statistics.fmean(values))
    return mean if len(values) == 1 else f"{mean} ± {told(statistics.stdev(values))}"


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    return table


def time_told(seconds: float) -> str:
    """A time after the start in the largest unit that leaves at least 2 of it: `36.5 h`."""
    size, unit = next((one for one in UNITS if seconds >= 2 * one[0]), UNITS[-1])
    return f"{seconds / size:.3g} {unit}"
