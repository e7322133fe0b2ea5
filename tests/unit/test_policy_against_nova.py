"""Our rules beside Nova's own, where NOVELLA_NOVA_PYTHON names a Python that has nova."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from app.web import policy

PYTHON = os.environ.get("NOVELLA_NOVA_PYTHON", "")
SIDE = Path(__file__).resolve().parents[1] / "one_by_one/nova_rules.py"
OURS = {
    *(f"os_compute_api:flavors:{what}" for what in ("index", "detail", "show")),
    "os_compute_api:os-admin-actions:reset_network",
}
"""What Nova has no rule for, or none any more."""
pytestmark = pytest.mark.skipif(not PYTHON, reason="NOVELLA_NOVA_PYTHON names no Python with nova")


@pytest.fixture(scope="module")
def theirs() -> dict[str, str]:
    """Nova's defaults by name."""
    said = subprocess.run(
        [PYTHON, str(SIDE)], capture_output=True, text=True, timeout=120, check=True
    )
    found: dict[str, str] = json.loads(said.stdout)
    return found


def test_every_compute_rule_has_novas_name_and_novas_default(theirs: dict[str, str]) -> None:
    ours = policy.compute.RULES
    assert set(ours) - set(theirs) == OURS
    plain = {name: ours[name] for name in ours if name in theirs}
    assert plain == {name: re.sub(r"\((rule:\w+)\)", r"\1", theirs[name]) for name in plain}


def test_the_rules_that_others_are_made_of_are_novas(theirs: dict[str, str]) -> None:
    names = ["context_is_admin", "service_api", "service_or_admin"]
    for role in ("reader", "member", "manager"):
        names += [f"project_{role}_api", f"project_{role}_or_admin"]
    assert {name: policy.RULES[name] for name in names} == {name: theirs[name] for name in names}
