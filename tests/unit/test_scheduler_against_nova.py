"""Our rules beside Nova's own, where NOVELLA_NOVA_PYTHON names a Python that has nova."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.scheduler.filters import FILTERS
from app.scheduler.host_table import HostTable
from app.scheduler.policy import Policy
from app.scheduler.ranking import Ranking
from app.scheduler.weighers import WEIGHERS
from tests.one_by_one.generated import Case, case
from tests.one_by_one.host import Host

PYTHON = os.environ.get("NOVELLA_NOVA_PYTHON", "")
SIDE = Path(__file__).resolve().parents[1] / "one_by_one/nova_side.py"
CASES = 200
STATE = (
    *("total_usable_ram_mb", "free_ram_mb", "total_usable_disk_gb", "free_disk_mb"),
    *("disk_mb_used", "vcpus_total", "vcpus_used", "num_instances", "num_io_ops"),
    *("failed_builds", "hypervisor_version", "cpu_allocation_ratio", "ram_allocation_ratio"),
    *("disk_allocation_ratio", "host_ip", "hypervisor_hostname", "hypervisor_type", "host"),
    "cpu_info",
)
OPTIONS = (
    *("max_instances_per_host", "max_io_ops_per_host"),
    "restrict_isolated_hosts_to_isolated_images",
    "image_properties_default_architecture",
    "aggregate_image_properties_isolation_namespace",
    "aggregate_image_properties_isolation_separator",
)
pytestmark = pytest.mark.skipif(not PYTHON, reason="NOVELLA_NOVA_PYTHON names no Python with nova")


def told(given: Case) -> dict[str, Any]:
    """The case as Nova's side reads it; hosts in hints and groups become servers on them."""
    spec = given.spec
    members = dict(spec.group.members) if spec.group else {}
    servers = {name: [f"g-{name}-{n}" for n in range(members.get(name, 0))] for name in members}
    rows = []
    for row in given.rows:
        host = Host.of(row, given.aggregates)
        state = {name: host.attribute(name) for name in STATE}
        state["supported_instances"] = host.facts.get("supported_instances")
        state["instances"] = [f"s-{row.name}", *servers.get(row.name, ())]
        rows.append(state)
    hints: dict[str, Any] = {"cidr": spec.cidr}
    for name, hosts in (("same_host", spec.same_host), ("different_host", spec.different_host)):
        if hosts is not None:
            hints[name] = [f"s-{host}" for host in sorted(hosts)]
    hints |= {"build_near_host_ip": spec.near_address} if spec.near_address else {}
    hints |= {"query": spec.query} if spec.query else {}
    group = spec.group and {
        "policy": spec.group.policy,
        "max": spec.group.max_server_per_host,
        "members": [one for some in servers.values() for one in some],
        "hosts": sorted(members),
    }
    options = {name: getattr(given.wish.options, name) for name in OPTIONS}
    options["isolated_hosts"] = sorted(given.wish.options.isolated_hosts)
    options["isolated_images"] = sorted(given.wish.options.isolated_images)
    aggregates = [{"hosts": sorted(a.hosts), "metadata": a.metadata} for a in given.aggregates]
    about = {"group": group, "hints": hints}
    for name in ("flavor_name", "extra_specs", "image_id", "image_properties", "project_id"):
        about[name] = getattr(spec, name)
    return {
        "rows": rows,
        "aggregates": aggregates,
        "spec": about,
        "options": options,
        "filters": [rule.nova for rule in FILTERS.values() if rule.name not in NOT_ASKED],
        "weighers": [rule.nova for rule in WEIGHERS.values()],
    }


NOT_ASKED = {"compute", "availability_zone", "vcpus", "ram", "disk", "retry", "traits"}
"""What Nova 34 has not as filters any more, or asks of its service group."""


def test_filters_and_weighers_say_what_novas_own_say(capsys: pytest.CaptureFixture[str]) -> None:
    cases = [case(seed) for seed in range(CASES)]
    done = subprocess.run(
        [PYTHON, str(SIDE)],
        input=json.dumps([told(given) for given in cases]),
        capture_output=True,
        text=True,
        timeout=280,
        check=True,
    )
    differ: list[str] = []
    asked: set[str] = set()
    for seed, (given, theirs) in enumerate(zip(cases, json.loads(done.stdout), strict=True)):
        table = HostTable(given.rows, given.aggregates)
        table.set_members(given.spec.group.members if given.spec.group else {})
        for rule in FILTERS.values():
            if rule.nova not in theirs["filters"]:
                continue
            asked.add(rule.name)
            mask = rule.mask(table, given.spec, given.wish.options)
            ours = [True] * len(table) if mask is None else np.asarray(mask).tolist()
            if ours != theirs["filters"][rule.nova]:
                differ.append(f"{rule.name} at seed {seed}: {ours} {theirs['filters'][rule.nova]}")
        for weigher in WEIGHERS.values():
            asked.add(weigher.name)
            only = Policy((), (weigher,), given.wish.options)
            everywhere = np.ones(len(table), dtype=bool)
            ranking = Ranking(table, given.spec, only, everywhere, random.Random(1))
            scores = [ranking.weights(at).get(weigher.name, 0.0) for at in range(len(given.rows))]
            if len(scores) > 1 and scores != theirs["weighers"][weigher.nova]:
                differ.append(f"{weigher.name} at seed {seed}: {scores}")
    with capsys.disabled():
        print(f"\n{len(cases)} cases, {len(asked)} filters and weighers beside Nova's own")
    assert len(asked) >= 25
    assert differ == []
