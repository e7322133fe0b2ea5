"""`novella simulate`: what it prints, writes, draws and refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app import config
from app.cli import main
from app.cli.simulate import policies, snapshot
from app.cli.simulate.snapshot import Snapshot
from app.domain.request_spec import RequestSpec
from app.domain.resources import Resources
from app.errors import Invalid
from app.scheduler.rows import AggregateRow, HostRow
from app.scheduler.simulation import Resident

SMALL = ("--hosts", "4", "--host-vcpus", "4", "--host-ram-mb", "16384", "--cpu-ratio", "1")


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.delenv("NOVELLA_CONFIG", raising=False)
    monkeypatch.setenv("NOVELLA_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    config.settings.cache_clear()
    yield
    config.settings.cache_clear()


def simulate(*args: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *args])


def done(*args: str) -> list[dict[str, Any]]:
    result = simulate(*args, "--json", "out.json")
    assert result.exit_code == 0, result.output
    rows: list[dict[str, Any]] = json.loads(Path("out.json").read_text())
    return rows


def cells(output: str, title: str) -> list[str]:
    line = next(one for one in output.splitlines() if one.strip().startswith(title))
    return line.strip().removeprefix(title).split()


def test_policies_are_compared_over_the_same_arrivals() -> None:
    given = (*SMALL, "--servers", "60", "--lifetime", "2m", "--seed", "1", "--seed", "2")
    result = simulate(*given, "--policy", "spread", "--policy", "pack")
    assert result.exit_code == 0, result.output
    assert "policy spread, mean of 2 seeds" in result.output
    assert "policy pack, mean of 2 seeds" in result.output
    assert cells(result.output, "servers asked for") == ["0", "15", "30", "45", "60"]
    assert "what refused hosts to servers that fitted nowhere: vcpus" in result.output
    compared = result.output[result.output.index("at the end") :]
    assert cells(compared, "servers asked for") == ["60", "±", "0", "60", "±", "0"]


def test_json_has_every_figure_and_adds_up() -> None:
    given = (*SMALL, "--servers", "60", "--lifetime", "2m", "--policy", "pack", "--rack-dies", "1")
    (row,) = done(*given)
    end = row["end"]
    assert end["asked"] == end["placed"] + end["refused"] == 60
    assert end["servers"] == end["placed"] - end["left"] - end["homeless"]
    assert end["lost_hosts"] == 1
    assert row["moments"][-1] == end
    assert row["settings"]["weight_multipliers"] == "ram=-1,cpu=-1,disk=-1"
    assert row["decisions"] == 60 + end["moved"] + end["homeless"]
    assert done(*given)[0]["moments"] == row["moments"]


def test_more_hosts_take_what_was_refused() -> None:
    given = (*SMALL, "--servers", "60", "--flavors", "m1.small")
    few, more = (done(*given, *some)[0]["end"] for some in ((), ("--add-hosts", "40")))
    assert (few["hosts"], more["hosts"]) == (4, 44)
    assert few["refused"] > more["refused"] == 0


def test_kinds_of_hosts_and_flavors_of_ones_own() -> None:
    kinds = ("--host-kind", "2x4:4096:100", "--host-kind", "1x8:8192:100", "--reserved-ram-mb", "0")
    flavors = "whole:4:4096:10,half:2:2048:10=0"
    (row,) = done(*kinds, "--cpu-ratio", "1", "--flavors", flavors, "--servers", "9")
    assert (row["end"]["placed"], row["end"]["refused"]) == (4, 5)
    assert row["refused_by_filter"] == {"vcpus": 15}
    assert row["refused_by_flavor"] == {"whole": 5}
    assert row["largest_flavor"] == "whole"


def test_a_trace_says_when_who_wants_what() -> None:
    Path("trace.csv").write_text(
        "at,flavor,lifetime,count,zone\n10,big,,1,zone-2\n0,big,5,2,zone-2\n11,big,,,zone-1\n"
    )
    hosts = ("--hosts", "4", "--zones", "2", "--host-vcpus", "4", "--cpu-ratio", "1")
    given = (*hosts, "--arrivals", "trace.csv", "--flavors", "big:4:4096:10")
    end = done(*given)[0]["end"]
    assert (end["asked"], end["placed"], end["left"], end["at"]) == (4, 4, 2, 11.0)
    assert done(*given, "--servers", "3")[0]["end"]["asked"] == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "missing: at, flavor"),
        ("at,flavor,size\n", "unknown: size"),
        ("at,flavor,at\n", "one comes twice"),
        ("at,flavor\n", "nobody asks"),
        ("at,flavor\n1,huge\n", "line 2: no flavor is named 'huge'"),
        ("at,flavor\nsoon,m1.tiny\n", "line 2: at is 'soon', not a number from 0"),
        ("at,flavor\n-1,m1.tiny\n", "line 2: at is '-1'"),
        ("at,flavor\n1\n", "line 2: no flavor"),
        ("at,flavor,count\n1,m1.tiny,1.5\n", "count is a whole number from 1 to 1000"),
        ("at,flavor,lifetime\n1,m1.tiny,nan\n", "lifetime is 'nan'"),
        ("at,flavor\n1,m1.tiny,2\n", "line 2: more values than columns"),
    ],
)
def test_a_wrong_trace_is_refused_by_its_line(text: str, said: str) -> None:
    Path("trace.csv").write_text(text)
    result = simulate("--arrivals", "trace.csv")
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--hosts", "0"), "0 is not in the range"),
        (("--servers", "-1"), "-1 is not in the range"),
        (("--host-kind", "3x64"), "such as 3x64:262144:4000"),
        (("--host-kind", "3x0:1:1"), "must be above 0"),
        (("--host-kind", "0x1:1:1"), "1 to 1000000 hosts"),
        (("--hosts", "3", "--host-kind", "3x64:262144:4000"), "their number and size already"),
        (("--hosts", "3", "--from-cloud"), "--hosts: the cloud's hosts are as they are"),
        (("--zones", "3", "--hosts", "2"), "there are 2 hosts"),
        (("--reserved-ram-mb", "9999", "--host-ram-mb", "10"), "cannot keep 9999"),
        (("--rate", "0"), "no rate above 0"),
        (("--rate", "often"), "no rate above 0"),
        (("--lifetime", "long"), "no duration"),
        (("--lifetime", "nan"), "no duration"),
        (("--arrivals", "nowhere.csv"), "nowhere.csv: No such file"),
        (("--flavors", "m1.huge"), "'m1.huge' is none of m1.large"),
        (("--flavors", "a:1:2"), "such as m1.small=3"),
        (("--flavors", "a:0:0:0"), "more than nothing"),
        (("--flavors", "m1.tiny=0"), "not all of them 0"),
        (("--add-hosts", "0"), "such as 20"),
        (("--remove-hosts", "x,host-001,y"), "there is no host x, y"),
        (("--rack-dies", "101"), "there are 100"),
        (("--rack-dies", "east"), "no host is in the zone 'east': there are nova"),
        (("--lost-at", "5m"), "no host is lost"),
        (("--policy", "best"), "'best' is none of live, spread, pack"),
        (("--policy", "ram=much"), "'ram=much' is not a name=number"),
        (("--policy", "speed=1"), "no filter or weigher is named 'speed'"),
        (("--policy", "filters=ram,nothing"), "no filter or weigher is named 'nothing'"),
        (("--policy", "host_subset_size=x"), "host_subset_size: 'x' is not a int"),
        (("--seed", "-1"), "-1 is not in the range"),
        (("--plot", "out.gif"), "must end with .svg or .png"),
        (("--plot", "nowhere/out.svg"), "there is no directory nowhere"),
        (("--json", "nowhere/out.json", "--servers", "1"), "nowhere/out.json: No such file"),
        (("--servers", "3", "snapshot"), "options go after snapshot"),
        (("--snapshot", "nowhere.json"), "does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_limit(args: tuple[str, ...], said: str) -> None:
    result = simulate(*args)
    assert result.exit_code in (1, 2)
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.output


def test_policies_speak_the_settings_syntax() -> None:
    base = {"weight_multipliers": "ram=2", "filters": ""}
    mine = policies.named("mine: pack; ram=-3 ;host_subset_size=5;filters=vcpus,RamFilter", base)
    assert mine.label == "mine"
    assert [one.name for one in mine.policy.filters] == ["vcpus", "ram"]
    assert mine.policy.options.host_subset_size == 5
    factors = {one.name: one.multiplier for one in mine.policy.weighers}
    assert (factors["ram"], factors["cpu"], factors["io_ops"]) == (-3.0, -1.0, -1.0)
    live = policies.named("live", base)
    assert {one.name: one.multiplier for one in live.policy.weighers}["ram"] == 2.0
    shown = policies.present(config.Settings(shuffle_best_same_weighed_hosts=True))
    assert policies.named("live", shown).policy.options.shuffle_best_same_weighed_hosts


def a_cloud() -> Snapshot:
    odd = RequestSpec(Resources(3, 1024, 5), "east", flavor_name="odd", extra_specs={"a": "b"})
    hinted = RequestSpec(
        Resources(1, 512, 1),
        project_id="p",
        image_id="i",
        image_properties={"hw_architecture": "x86_64"},
        different_host=frozenset({"n2"}),
    )
    hosts = [
        HostRow("n1", Resources(8, 8192, 100), Resources(4, 1536, 6), "east", servers=2),
        HostRow("n2", Resources(8, 8192, 100), usable=False, facts='{"traits": ["FAST"]}'),
        HostRow(
            *("n3", Resources(8, 8192, 100), Resources(6, 0, 0), "east"),
            cpu_ratio=1.5,
            facts='{"supported_instances": [["x86_64", "kvm", "hvm"]]}',
        ),
    ]
    aggregates = [AggregateRow("ssd", frozenset({"n1", "n3"}), {"ssd": "true"})]
    residents = [Resident("n1", odd), Resident("n1", hinted)]
    flavors = {"odd": RequestSpec(odd.resources, flavor_name="odd", extra_specs={"a": "b"})}
    return Snapshot(hosts, residents, flavors, aggregates, {"weight_multipliers": "ram=-1"})


def test_a_snapshot_is_read_as_it_was_written() -> None:
    Path("cloud.json").write_text(json.dumps(snapshot.as_json(a_cloud())))
    assert snapshot.read(Path("cloud.json")) == a_cloud()


def test_what_if_a_hosts_of_a_snapshot_dies() -> None:
    Path("cloud.json").write_text(json.dumps(snapshot.as_json(a_cloud())))
    (row,) = done("--snapshot", "cloud.json", "--servers", "0", "--remove-hosts", "n1")
    assert row["settings"]["weight_multipliers"] == "ram=-1"
    end = row["end"]
    assert (end["moved"], end["homeless"], end["servers"], end["hosts"]) == (2, 0, 2, 1)
    given = ("--servers", "0", "--rack-dies", "east", "--snapshot", "cloud.json")
    end = done(*given)[0]["end"]
    assert (end["moved"], end["homeless"], end["servers"], end["hosts"]) == (0, 2, 0, 0)
    end = done(*given, "--add-hosts", "1x4:4096:50")[0]["end"]
    assert (end["homeless"], end["lost_hosts"]) == (2, 3), "added ones join the largest zone"


def test_a_snapshots_servers_leave_when_told_to() -> None:
    Path("cloud.json").write_text(json.dumps(snapshot.as_json(a_cloud())))
    given = ("--snapshot", "cloud.json", "--servers", "5", "--rate", "1/h", "--lifetime", "1s")
    assert done(*given)[0]["end"]["servers"] == 3
    assert done(*given, "--residents-leave")[0]["end"]["servers"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told.update(novella_snapshot=2), "$.novella_snapshot: 1 was expected"),
        (lambda told: told.update(hosts=[]), "$.hosts"),
        (lambda told: told["hosts"][0].update(more=1), "$.hosts[0]: Additional properties"),
        (lambda told: told["hosts"][0]["total"].update(vcpus=-1), "$.hosts[0].total.vcpus"),
        (lambda told: told["hosts"][0].update(cpu_ratio=0), "$.hosts[0].cpu_ratio"),
        (lambda told: told["hosts"][0].update(facts="["), "facts of host n1 are no JSON object"),
        (lambda told: told["hosts"][0].update(name="n2"), "two hosts have the same name"),
        (lambda told: told["servers"][0].update(host="n9"), "does not have: n9"),
        (lambda told: told["hosts"][0].pop("used"), "host n1 take more"),
        (lambda told: told["settings"].update(database_url="x"), "$.settings"),
        (lambda told: told["settings"].update(filters="nothing"), "is named 'nothing'"),
    ],
)
def test_a_wrong_snapshot_is_refused_by_the_place_in_it(change: Any, said: str) -> None:
    told = snapshot.as_json(a_cloud())
    change(told)
    Path("cloud.json").write_text(json.dumps(told))
    result = simulate("--snapshot", "cloud.json")
    assert result.exit_code == 1
    assert said in result.stderr


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\x00", "3"])
def test_what_is_no_snapshot_at_all_is_refused(text: str) -> None:
    Path("cloud.json").write_text(text)
    with pytest.raises(Invalid, match=r"cloud\.json: "):
        snapshot.read(Path("cloud.json"))


def test_plots_are_drawn() -> None:
    lines = ("--policy", "spread", "--policy", "pack", "--seed", "1", "--seed", "2")
    for name, begins in (("out.svg", b"<?xml"), ("out.png", b"\x89PNG")):
        assert simulate(*SMALL, "--servers", "50", *lines, "--plot", name).exit_code == 0
        assert Path(name).read_bytes().startswith(begins)
    assert "m1.xlarge: how many still fit" in Path("out.svg").read_text()


def test_without_matplotlib_the_error_names_the_extra(tmp_path: Path) -> None:
    blocked = (
        "import sys; sys.modules['matplotlib'] = None; from app.cli import main;"
        "main(['simulate', '--servers', '1', '--plot', 'out.svg'])"
    )
    argv = [sys.executable, "-c", blocked]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr == (
        "Error: --plot needs Matplotlib, which is not installed: pip install 'novella[plot]'\n"
    )


def test_the_example_of_the_page_is_what_comes_out() -> None:
    page = (Path(__file__).parents[2] / "docs/simulate.md").read_text()
    _, command, _, table = page.split("```", 4)[:4]
    result = simulate(*command.split()[2:])
    assert result.exit_code == 0, result.output
    # Words alone: a column is as wide as the decisions a second, which differ, make it.
    rows = [words for line in table.splitlines() if (words := re.findall(r"[^\s─━]+", line))]
    assert rows[0] == ["at", "the", "end"]
    shown = result.output[result.output.index("at the end") :].splitlines()
    found = [words for line in shown if (words := re.findall(r"[^\s─━]+", line))]
    assert rows == found[: len(rows)]
