"""Rules of other packages: the worked example of docs/scheduler.md, installed as a package is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.request_spec import RequestSpec
from app.domain.resources import Resources
from app.errors import Invalid
from app.scheduler import plugins, policy
from app.scheduler.host_table import HostTable
from app.scheduler.rows import HostRow
from app.scheduler.select import select

PAGE = (Path(__file__).resolve().parents[2] / "docs/scheduler.md").read_text()


def install(folder: Path, module: str, text: str, points: str) -> None:
    """Put a package there as an installer would."""
    (folder / f"{module}.py").write_text(text)
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(points)


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_worked_example_is_found_by_its_entry_point_and_chooses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = re.search(r'\[project.entry-points."(.*?)"\]\n(\w+) = "(.*?)"', block("toml"))
    assert declared is not None
    group, name, value = declared.groups()
    install(tmp_path, "my_rules", block("python"), f"[{group}]\n{name} = {value}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    made = policy.make(["compute", name], rules=plugins.load())
    plugins.prove(made)
    host = HostRow("n1", Resources(8, 8192, 100), building=2)
    rows = [host, replace(host, name="n2", building=1)]
    found = select(HostTable(rows), RequestSpec(Resources(1, 1, 1)), 2, 0, made)
    assert [pick[0] for pick in found.picks] == ["n2"]
    assert "2 are too busy" in found.sentence()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("1 / 0", "cannot be loaded: ZeroDivisionError"),
        ("RULE = 5", "is no Filter"),
        (
            "from app.scheduler.rules import Filter\nRULE = Filter('ram', '', lambda *a: None)",
            "'ram'",
        ),
    ],
)
def test_a_rule_that_is_none_is_refused_with_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, what: str
) -> None:
    module = f"odd_rules_{abs(hash(text))}"
    install(tmp_path, module, text, f"[novella.filters]\nodd = {module}:RULE\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Invalid, match=f"'odd' of novella.filters .*{what}"):
        plugins.load()
