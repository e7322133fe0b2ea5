"""Figures over time, a line for each policy: by Matplotlib, which the extra `plot` brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.cli.simulate.results import Figure, Result
from app.cli.simulate.tables import TITLES, UNITS
from app.errors import Invalid, Unavailable
from app.scheduler.simulation_figures import RESOURCES, Moment

KINDS = (".svg", ".png")
# Okabe and Ito's colours, which the colour-blind tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Panel:
    """One of the plots."""

    title: str
    figure: Figure
    percent: bool = False
    whole: bool = False


def check(file: Path) -> None:
    """Raise Invalid when it could not be drawn: before anything is computed."""
    if file.suffix.lower() not in KINDS:
        raise Invalid(f"--plot {file}: the name must end with {' or '.join(KINDS)}")
    if not file.absolute().parent.is_dir():
        raise Invalid(f"--plot {file}: there is no directory {file.parent}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise Invalid(
            "--plot needs Matplotlib, which is not installed: pip install 'novella[plot]'"
        ) from error


def draw(file: Path, results: Sequence[Result]) -> None:
    """Draw the results. Raises Unavailable when the file cannot be written."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(12, 7), layout="constrained")
    axes = drawing.subplots(2, 3, sharex=True)
    unit = _unit(results)
    for panel, place in zip(_panels(results), axes.flat, strict=True):
        for number, one in enumerate(results):
            _line(place, panel, one, number, unit[0])
        _dress(place, panel, results, unit)
    for place in axes[1]:
        place.set_xlabel(unit[1])
    handles, labels = axes[0][0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    if any(len(one.outcomes) > 1 for one in results):
        note = "lines: mean of the seeds; bands: their least and greatest"
        drawing.text(0.995, 0.99, note, ha="right", va="top", fontsize=8, color="#555555")
    try:
        drawing.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
    except OSError as error:
        raise Unavailable(f"{file}: {error.strerror or error}") from error


def _panels(results: Sequence[Result]) -> list[Panel]:
    outcomes = [one for result in results for one in result.outcomes.values()]
    scarce = _most("used", [one.end for one in outcomes])
    stranded = _most("stranded", [moment for one in outcomes for moment in one.moments])
    large = next((one.largest.flavor_name for one in outcomes if one.largest), "")
    return [
        Panel(f"{TITLES[scarce]} used", _of("used", scarce), percent=True),
        Panel("servers on hosts", lambda moment: moment.servers, whole=True),
        Panel(
            "refused and homeless servers",
            lambda m: m.counts.refused + m.counts.homeless,
            whole=True,
        ),
        Panel(
            f"{large or 'largest flavor'}: how many still fit", lambda m: m.largest_fit, whole=True
        ),
        Panel(f"{TITLES[stranded]} stranded", _of("stranded", stranded), percent=True),
        Panel(f"imbalance of {TITLES[scarce]}", _of("imbalance", scarce)),
    ]


def _most(name: str, moments: Sequence[Moment]) -> str:
    return max(RESOURCES, key=lambda one: max(getattr(m, name).get(one, 0.0) for m in moments))


def _of(name: str, resource: str) -> Figure:
    return lambda moment: float(getattr(moment, name).get(resource, 0.0))


def _unit(results: Sequence[Result]) -> tuple[float, str]:
    """Seconds in the unit of the time axis, and its title; 0 for servers instead of time."""
    last = max(one.end.at for result in results for one in result.outcomes.values())
    if not last:
        return 0.0, "servers asked for"
    size, name = next((one for one in UNITS if last >= 2 * one[0]), UNITS[-1])
    return size, f"time ({name})"


def _line(place: Any, panel: Panel, result: Result, number: int, unit: float) -> None:
    colour = COLOURS[number % len(COLOURS)]
    style = STYLES[number // len(COLOURS) % len(STYLES)]
    # The later ones thinner: where two are equal, both can be seen.
    width = max(1.2, 3.0 - number)
    look = {"color": colour, "linestyle": style, "linewidth": width, "label": result.named.label}
    runs = []
    for outcome in result.outcomes.values():
        moments = outcome.moments
        at = [_at(moment, unit) for moment in moments]
        values = [panel.figure(one) for one in moments]
        if at[-1] in _losses([result], unit):  # room to see what it led to
            at, values = [*at, 1.05 * at[-1]], [*values, values[-1]]
        runs.append((np.array(at), np.array(values)))
    if len(runs) == 1:
        place.plot(*runs[0], **look)
        return
    grid = np.linspace(0.0, min(at[-1] for at, _ in runs), 200)
    bands = np.array([np.interp(grid, at, found) for at, found in runs])
    place.plot(grid, bands.mean(axis=0), **look)
    place.fill_between(grid, bands.min(axis=0), bands.max(axis=0), color=colour, alpha=0.2, lw=0)


def _at(moment: Moment, unit: float) -> float:
    return moment.at / unit if unit else float(moment.counts.asked)


def _dress(place: Any, panel: Panel, results: Sequence[Result], unit: tuple[float, str]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

    place.set_title(panel.title, fontsize=11, loc="left")
    place.set_ylim(bottom=0)
    place.margins(x=0)
    place.grid(color="#dddddd", linewidth=0.6)
    place.spines[["top", "right"]].set_visible(False)
    top = place.get_ylim()[1]
    if place.dataLim.ymax <= 0:
        place.set_ylim(0, 0.1 if panel.percent else 1)
    if panel.percent:
        place.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if top > 0.1 else 1))
    elif panel.whole:
        place.yaxis.set_major_locator(MaxNLocator(integer=True))
        place.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    for at in _losses(results, unit[0]):
        place.axvline(at, color="#888888", linewidth=0.8, linestyle=":")


def _losses(results: Sequence[Result], unit: float) -> set[float]:
    """When hosts were lost."""
    found = set()
    for outcome in results[0].outcomes.values():
        pairs = zip(outcome.moments, outcome.moments[1:], strict=False)
        found |= {
            _at(later, unit)
            for before, later in pairs
            if later.counts.lost_hosts != before.counts.lost_hosts
        }
    return found
