"""Nova's own filters and weighers over given cases. Run by a Python that has nova installed.

JSON on stdin: a list of cases as `tests.unit.test_scheduler_against_nova` makes them. JSON on
stdout, for each: {"filters": {class name: [passes, …]}, "weighers": {class name: [score, …]}}.
A filter that raises for a host counts as refusing it, and is told under "raised".
"""

from __future__ import annotations

import json
import sys
from typing import Any

from nova import conf, objects
from nova import weights as base_weights
from nova.scheduler import filters, host_manager, weights

CONF = conf.CONF


class Bag:
    """An object of Nova as its rules look at it: attributes, and `in` for whether one is set."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__

    def get_scheduler_hint(self, name: str, default: Any = None) -> Any:
        return self.hints.get(name, default)  # type: ignore[attr-defined]


def main() -> None:
    """Answer for all cases."""
    CONF([], project="nova", default_config_files=[])
    objects.register_all()
    handler, scales = filters.HostFilterHandler(), weights.HostWeightHandler()
    classes = handler.get_matching_classes(CONF.filter_scheduler.available_filters)
    weighers = scales.get_matching_classes(CONF.filter_scheduler.weight_classes)
    told = []
    for case in json.load(sys.stdin):
        for name, value in case["options"].items():
            CONF.set_override(name, value, group="filter_scheduler")
        spec = _spec(case["spec"])
        answer: dict[str, Any] = {"filters": {}, "weighers": {}, "raised": []}
        for one in classes:
            if one.__name__ in case["filters"]:
                rule = one()
                answer["filters"][one.__name__] = [
                    _passes(rule, _host(row, case["aggregates"]), spec, answer)
                    for row in case["rows"]
                ]
        hosts = [_host(row, case["aggregates"]) for row in case["rows"]]
        for one in weighers:
            if one.__name__ in case["weighers"]:
                answer["weighers"][one.__name__] = _scores(one(), hosts, spec)
        told.append(answer)
    json.dump(told, sys.stdout)


def _passes(rule: Any, host: Any, spec: Any, answer: dict[str, Any]) -> bool:
    try:
        return bool(rule.host_passes(host, spec))
    except Exception as error:  # noqa: BLE001  (what it raises is the answer)
        answer["raised"].append(f"{type(rule).__name__}: {type(error).__name__}")
        return False


def _scores(weigher: Any, hosts: list[Any], spec: Any) -> list[float]:
    weighed = [base_weights.WeighedObject(host, 0.0) for host in hosts]
    values = weigher.weigh_objects(weighed, spec)
    parts = base_weights.normalize(values, minval=weigher.minval, maxval=weigher.maxval)
    return [weigher.weight_multiplier(host) * part for host, part in zip(hosts, parts, strict=True)]


def _host(row: dict[str, Any], aggregates: list[dict[str, Any]]) -> Any:
    host = host_manager.HostState(row["host"], row["host"], "cell")
    for name, value in row.items():
        setattr(host, name, value)
    host.instances = dict.fromkeys(row["instances"])
    host.aggregates = [
        Bag(metadata=one["metadata"]) for one in aggregates if row["host"] in one["hosts"]
    ]
    return host


def _spec(told: dict[str, Any]) -> Any:
    group = None
    if told["group"]:
        policy, rules = told["group"]["policy"], {}
        if policy == "anti-affinity":
            rules = {"max_server_per_host": told["group"]["max"]}
        group = Bag(
            uuid="g",
            policy=policy,
            policies=[policy],
            rules=rules,
            members=told["group"]["members"],
            hosts=told["group"]["hosts"],
        )
    image = Bag(properties=told["image_properties"])
    if told["image_id"]:
        image.id = told["image_id"]  # type: ignore[attr-defined]
    return Bag(
        flavor=Bag(name=told["flavor_name"], extra_specs=told["extra_specs"]),
        image=image,
        project_id=told["project_id"],
        instance_uuid="new",
        instance_group=group,
        hints=told["hints"],
    )


if __name__ == "__main__":
    main()
