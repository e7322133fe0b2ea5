"""Clouds and requests by the thousand: few different values, so that every filter divides hosts."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from app.domain.request_spec import Group, RequestSpec
from app.domain.resources import Resources
from app.scheduler.filters import FILTERS
from app.scheduler.options import Options
from app.scheduler.rows import AggregateRow, HostRow
from app.scheduler.weighers import WEIGHERS
from tests.one_by_one.choice import Wish

FACTS = [
    {
        "supported_instances": [["x86_64", "kvm", "hvm"], ["x86_64", "qemu", "hvm"]],
        "cpu_info": {"vendor": "AMD", "topology": {"cores": 8}, "features": "avx,sse"},
        "traits": ["FAST", "AVX"],
    },
    {"supported_instances": [["aarch64", "qemu", "hvm"]], "cpu_info": {"vendor": "ARM"}},
    {"traits": ["FAST"], "supported_instances": [["x86_64", "qemu", "hvm"]]},
    {},
]
EXTRA_SPECS = {
    "capabilities:cpu_info:vendor": ("AMD", "s== ARM", "<or> AMD <or> ARM", "<in> A"),
    "capabilities:cpu_info:topology:cores": (">= 4", "== 8", "<= x"),
    "capabilities:hypervisor_version": (">= 7002000", "s!= 6000000", "nan"),
    "vcpus_used": ("<= 6", "= 2", "!= 3"),
    "cpu_allocation_ratio": ("4.0", ">= 2"),
    "aggregate_instance_extra_specs:ssd": ("true", "s== true", "<in> ru"),
    "ssd": ("true", "<or> true <or> yes"),
    "trait:FAST": ("required", "forbidden"),
    "trait:AVX": ("required", "forbidden"),
    "hw:cpu_policy": ("shared",),
}
AGGREGATE = ("ssd", "aggregate_instance_extra_specs:ssd")
TRAITS = [key for key in EXTRA_SPECS if key.startswith("trait:")]
CAPABILITIES = [key for key in EXTRA_SPECS if key.startswith("capabilities:")]
OTHERS = ("vcpus_used", "cpu_allocation_ratio", "hw:cpu_policy")
QUERIES = (
    '[">=", "$free_ram_mb", 4096]',
    '["and", ["<", "$vcpus_used", 6], ["=", "$hypervisor_type", "QEMU"]]',
    '["not", ["in", "$host", "h0", "h1", "h2"]]',
    '["=", "$hypervisor_type", "KVM"]',
    '[">", "$failed_builds", 0]',
    '["or", ["<=", "$num_instances", 3], [">", "$cpu_info.topology.cores", 4]]',
    '["~", 1]',
    "{",
    '["<", "$host", 3]',
)
METADATA = {
    "ssd": ("true", "false", "true, yes"),
    "filter_tenant_id": ("p1", "p2", "p2,p1"),
    "filter_tenant_id_2": ("p2", "p3"),
    "instance_type": ("small", "large", "small, large"),
    "max_instances_per_host": ("2", "4", "many"),
    "max_io_ops_per_host": ("1", "3", ""),
    "os_distro": ("debian", "fedora"),
    "ram_weight_multiplier": ("-1.5", "2.0", "much"),
    "cpu_weight_multiplier": ("0.5",),
    "build_failure_weight_multiplier": ("3",),
}

NEAR = ("10.0.0.1", "10.0.0.1", "10.0.1.1", "fd00::1", "nowhere", None)
NAMESPACES = (None, None, "os_distro", "x")


@dataclass(frozen=True)
class Case:
    """One cloud and one request."""

    rows: list[HostRow]
    aggregates: list[AggregateRow]
    spec: RequestSpec
    wish: Wish
    count: int
    alternates: int


def case(seed: int) -> Case:
    """The case of that seed."""
    chance = random.Random(seed)
    size = 1 if chance.random() < 0.04 else chance.randrange(6, 15)
    rows = [_host(chance, f"h{number}") for number in range(size)]
    names = [row.name for row in rows]
    aggregates = [_aggregate(chance, number, names) for number in range(chance.randrange(2, 5))]
    wish = Wish(_filters(chance), _weighers(chance), _options(chance, names))
    spec = _spec(chance, names)
    count = chance.choice((1, 1, 2, 3, 6, 9))
    return Case(rows, aggregates, spec, wish, count, chance.randrange(4))


def _host(chance: random.Random, name: str) -> HostRow:
    total = Resources(chance.choice((4, 8)), chance.choice((4096, 8192, 16384)), 100)
    return HostRow(
        name,
        total,
        Resources(chance.randrange(8), chance.randrange(0, 9000, 700), chance.randrange(0, 100, 9)),
        zone=chance.choice(("east", "west")),
        usable=chance.random() < 0.8,
        reserved_ram_mb=chance.choice((0, 512)),
        cpu_ratio=chance.choice((1.0, 1.5, 4.0)),
        ram_ratio=chance.choice((1.0, 1.1)),
        servers=chance.randrange(6),
        building=chance.randrange(5),
        failed_builds=chance.choice((0, 0, 1, 3)),
        address=chance.choice(("10.0.0.7", "10.0.1.9", "fd00::7", "")),
        hostname=f"{name}.example.org",
        hypervisor_type=chance.choice(("QEMU", "KVM")),
        hypervisor_version=chance.choice((0, 6_000_000, 7_002_000)),
        facts=json.dumps(chance.choice(FACTS), sort_keys=True),
    )


def _aggregate(chance: random.Random, number: int, names: list[str]) -> AggregateRow:
    members = frozenset(chance.sample(names, chance.randrange(len(names) + 1)))
    keys = sorted({*chance.sample(sorted(METADATA), 6), "ssd", "instance_type", "os_distro"})
    return AggregateRow(f"a{number}", members, {key: chance.choice(METADATA[key]) for key in keys})


def _some(chance: random.Random, names: list[str]) -> frozenset[str]:
    return frozenset(chance.sample(names, chance.randrange(len(names)))) | {"nobody"}


def _spec(chance: random.Random, names: list[str]) -> RequestSpec:
    keys = [
        chance.choice(some)
        for share, some in ((0.75, AGGREGATE), (0.7, TRAITS), (0.75, CAPABILITIES), (0.1, OTHERS))
        if chance.random() < share
    ]
    hard, soft = ("affinity", "anti-affinity"), ("soft-affinity", "soft-anti-affinity")
    policy = chance.choice(hard if chance.random() < 0.85 else soft)
    members = {name: chance.randrange(1, 3) for name in sorted(_some(chance, names))}
    properties = {
        "hw_architecture": chance.choice(("x86_64", "aarch64", "")),
        "img_hv_type": chance.choice(("kvm", "qemu", "QEMU", "")),
        "img_hv_requested_version": chance.choice((">=7.0", "")),
        "os_distro": chance.choice(("debian", "fedora")),
    }
    return RequestSpec(
        Resources(chance.randrange(1, 6), chance.choice((512, 2048, 5000)), chance.choice((1, 40))),
        zone=chance.choice(("east", "west", "east", "west", None)),
        forced_host=chance.choice(names) if chance.random() < 0.5 else None,
        tried=_some(chance, names),
        project_id=chance.choice(("p1", "p2")),
        flavor_name=chance.choice(("small", "large")),
        extra_specs={key: chance.choice(EXTRA_SPECS[key]) for key in keys},
        image_id=chance.choice(("i1", "i2", None)),
        image_properties={key: text for key, text in properties.items() if text},
        group=Group(policy, members if chance.random() < 0.9 else {}, chance.choice((1, 1, 2))),
        same_host=_some(chance, names) if chance.random() < 0.7 else None,
        different_host=_some(chance, names) if chance.random() < 0.7 else None,
        near_address=chance.choice(NEAR),
        cidr=chance.choice(("/24", "/24", "/16")),
        query=chance.choice(QUERIES) if chance.random() < 0.8 else None,
    )


def _filters(chance: random.Random) -> list[str]:
    return chance.sample(sorted(FILTERS), chance.choice((1, 2, 3, 4, 6, len(FILTERS))))


def _weighers(chance: random.Random) -> list[tuple[str, float]]:
    names = chance.sample(sorted(WEIGHERS), chance.randrange(1, len(WEIGHERS) + 1))
    return [(name, chance.choice((-1.0, 0.0, 0.3, 1.0, 7.5))) for name in names]


def _options(chance: random.Random, names: list[str]) -> Options:
    return Options(
        max_instances_per_host=chance.randrange(1, 5),
        max_io_ops_per_host=chance.randrange(1, 4),
        isolated_hosts=_some(chance, names),
        isolated_images=chance.choice((frozenset(), frozenset({"i1"}), frozenset({"i2"}))),
        restrict_isolated_hosts_to_isolated_images=chance.random() < 0.8,
        image_properties_default_architecture=chance.choice((None, "x86_64")),
        aggregate_image_properties_isolation_namespace=chance.choice(NAMESPACES),
        aggregate_image_properties_isolation_separator=chance.choice((".", "")),
    )
