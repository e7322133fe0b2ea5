"""The command and its options."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import Progress

from app.cli.simulate import plot, policies, scenario, snapshot, tables
from app.cli.simulate.parameters import (
    MOST,
    MOST_HOSTS,
    AddedHosts,
    Duration,
    FlavorMix,
    HostKind,
    Moment,
    Rate,
)
from app.cli.simulate.policies import Named
from app.cli.simulate.results import Result
from app.cli.simulate.scenario import MOST_SERVERS, Wish
from app.config import settings
from app.errors import Unavailable
from app.scheduler import simulation
from app.scheduler.simulation import Scenario
from app.scheduler.simulation_demand import FOR_GOOD

_FILE = click.Path(path_type=Path, dir_okay=False)
_READ = click.Path(path_type=Path, dir_okay=False, exists=True)
_RATIO = click.FloatRange(0, 10_000, min_open=True)
_OPTIONS = (
    click.option("--hosts", type=click.IntRange(1, MOST_HOSTS), help="Empty hosts; 100."),
    click.option("--host-vcpus", type=click.IntRange(1, MOST.vcpus), help="Of each; 64."),
    click.option("--host-ram-mb", type=click.IntRange(1, MOST.ram_mb), help="MiB; 262144."),
    click.option("--host-disk-gb", type=click.IntRange(1, MOST.disk_gb), help="GiB; 4000."),
    click.option(
        "--host-kind", type=HostKind(), multiple=True, help="Hosts of one kind; repeatable."
    ),
    click.option(
        "--zones", type=click.IntRange(1, 10_000), help="zone-1, …: equal parts of the hosts."
    ),
    click.option("--cpu-ratio", type=_RATIO, help="vCPUs for each real one; the setting's."),
    click.option("--ram-ratio", type=_RATIO, help="The same for RAM."),
    click.option("--disk-ratio", type=_RATIO, help="The same for disk."),
    click.option("--reserved-ram-mb", type=click.IntRange(0, MOST.ram_mb), help="The setting's."),
    click.option("--snapshot", type=_READ, help="Start from this file's cloud."),
    click.option(
        "--from-cloud", is_flag=True, help="Start from the cloud of the present settings."
    ),
    click.option("--servers", type=click.IntRange(0, MOST_SERVERS), help="Asked for in all; 1000."),
    click.option(
        "--arrivals",
        default="poisson",
        metavar="poisson|burst|FILE",
        help="One by one, several at once, or as a CSV file says.",
    ),
    click.option("--rate", type=Rate(), default=1.0, help="Servers a second, or 300/h; 1."),
    click.option("--burst", type=click.IntRange(1, 1000), default=10, help="Servers at once; 10."),
    click.option("--lifetime", type=Duration(), default=FOR_GOOD, help="Mean stay; for good."),
    click.option("--flavors", type=FlavorMix(), help="NAME[:VCPUS:RAM_MB:DISK_GB][=WEIGHT],…"),
    click.option("--build-time", type=Duration(), default=30.0, help="A build's; 30 s."),
    click.option(
        "--residents-leave", is_flag=True, help="A snapshot's servers too, by --lifetime."
    ),
    click.option("--add-hosts", type=AddedHosts(), help="More hosts from the start."),
    click.option("--remove-hosts", default="", metavar="NAME,…", help="Lose these hosts."),
    click.option("--rack-dies", default="", metavar="N|ZONE", help="Lose N neighbours, or a zone."),
    click.option(
        "--lost-at", type=Moment(), help="When; a snapshot's at the start, else at the end."
    ),
)


def _with_options(command: Any) -> Any:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@_with_options
@click.option(
    "--policy",
    "texts",
    multiple=True,
    metavar="[LABEL:]PART[;PART…]",
    help="live, spread, pack, ram=-1,cpu=0, or a setting with its value; repeatable.",
)
@click.option(
    "--seed", "seeds", type=click.IntRange(0, 2**63 - 1), multiple=True, help="1; repeatable."
)
@click.option("--json", "json_file", type=_FILE, help="Write all figures there.")
@click.option("--plot", "plot_file", type=_FILE, help="Draw them (.svg or .png).")
@click.pass_context
def simulate(ctx: click.Context, **given: Any) -> None:
    """Try policies, more hosts, or the loss of a rack on a cloud in memory.

    The scheduler is the real one, and nothing real is touched. docs/simulate.md says what each
    figure means.
    """
    if ctx.invoked_subcommand is not None:
        if any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in given):
            raise click.UsageError(f"options go after {ctx.invoked_subcommand}")
        return
    texts, seeds = given.pop("texts"), tuple(dict.fromkeys(given.pop("seeds"))) or (1,)
    json_file, plot_file = given.pop("json_file"), given.pop("plot_file")
    if plot_file is not None:
        plot.check(plot_file)
    wish = Wish(**given)
    cloud = scenario.start(wish, settings())
    base = policies.present(settings()) | cloud.settings
    named = [policies.named(text, base) for text in dict.fromkeys(texts or (policies.LIVE,))]
    demand = scenario.demand(wish, cloud)
    scenarios = {seed: scenario.scenario(wish, cloud, demand, seed) for seed in seeds}
    results = _run(named, scenarios)
    tables.show(sys.stdout, results)
    if json_file is not None:
        rows = [row for one in results for row in one.as_json()]
        _write(json_file, json.dumps(rows, indent=1) + "\n")
    if plot_file is not None:
        plot.draw(plot_file, results)


def _run(named: list[Named], scenarios: dict[int, Scenario]) -> list[Result]:
    results = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for one in named:
            outcomes = {}
            for seed, happens in scenarios.items():
                total = sum(len(arrival.lifetimes) for arrival in happens.arrivals)
                task = progress.add_task(f"{one.label}, seed {seed}", total=total or 1)

                def told(asked: int, task: Any = task) -> None:
                    progress.update(task, completed=asked)

                outcomes[seed] = simulation.run(happens, one.policy, seed, time.process_time, told)
                progress.remove_task(task)
            results.append(Result(one, outcomes))
    return results


@simulate.command("snapshot")
def take_snapshot() -> None:
    """Print the cloud of the present settings as JSON, for --snapshot.

    It names hosts and projects; there are no secrets in it.
    """
    click.echo(json.dumps(snapshot.as_json(snapshot.of_cloud()), indent=1))


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text)
    except OSError as error:
        raise Unavailable(f"{file}: {error.strerror or error}") from error
