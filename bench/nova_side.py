"""Nova's own filters and weighers, measured beside ours. Run by a Python that has nova installed.

Reads one JSON object from stdin: {"hosts": [row, …], "wanted": {"vcpus", "ram_mb", "disk_gb"},
"counts": [1, 100], "seconds": 10}; writes {"1": [seconds a decision, …], …, "picks": [names]}.
Only decisions: no database, no placement, no messages.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from typing import Any

from nova import conf, context, objects
from nova.scheduler import filters, host_manager, manager, weights


def main() -> None:
    """Measure what stdin asks for."""
    conf.CONF([], project="nova", default_config_files=[])
    objects.register_all()
    asked = json.load(sys.stdin)
    found: dict[str, Any] = {}
    for count in asked["counts"]:
        found[str(count)], picks = _measured(asked, count)
        if count == 1:
            found["picks"] = picks
    json.dump(found, sys.stdout)


def _measured(asked: dict[str, Any], count: int) -> tuple[list[float], list[str]]:
    scheduler, spec = _scheduler(), _spec(asked["wanted"])
    ctxt = context.get_admin_context()
    times, picks, until = [], [], time.monotonic() + asked["seconds"]
    while not times or (time.monotonic() < until and len(times) < 20):
        hosts = iter([_host(row) for row in asked["hosts"]])
        begun = time.perf_counter()
        chosen = scheduler._legacy_find_hosts(ctxt, count, spec, hosts, 2)
        times.append((time.perf_counter() - begun) / count)
        picks = [selections[0].service_host for selections in chosen]
    return times, picks


def _scheduler() -> Any:
    made = object.__new__(manager.SchedulerManager)
    known = object.__new__(host_manager.HostManager)
    known.filter_handler = filters.HostFilterHandler()
    classes = known.filter_handler.get_matching_classes(
        conf.CONF.filter_scheduler.available_filters
    )
    known.filter_cls_map = {one.__name__: one for one in classes}
    known.filter_obj_map = {}
    known.enabled_filters = known._choose_host_filters(known._load_filters())
    known.weight_handler = weights.HostWeightHandler()
    weighers = known.weight_handler.get_matching_classes(conf.CONF.filter_scheduler.weight_classes)
    known.weighers = [one() for one in weighers]
    made.host_manager = known
    return made


class _Up:
    """A servicegroup for which every service is up."""

    def service_is_up(self, service: object) -> bool:
        return True


def _host(row: dict[str, Any]) -> Any:
    host = host_manager.HostState(row["name"], row["name"], str(uuid.uuid4()))
    host.uuid = str(uuid.uuid4())
    host.total_usable_ram_mb, host.total_usable_disk_gb = row["ram_mb"], row["disk_gb"]
    host.free_ram_mb = row["ram_mb"] - row["used_ram_mb"]
    host.free_disk_mb = (row["disk_gb"] - row["used_disk_gb"]) * 1024
    host.disk_mb_used = row["used_disk_gb"] * 1024
    host.vcpus_total, host.vcpus_used = row["vcpus"], row["used_vcpus"]
    host.num_instances, host.hypervisor_version = row["servers"], row["hypervisor_version"]
    host.hypervisor_type, host.supported_instances = "QEMU", [["x86_64", "qemu", "hvm"]]
    host.cpu_allocation_ratio = row["cpu_ratio"]
    host.ram_allocation_ratio = host.disk_allocation_ratio = 1.0
    host.service = {"disabled": False, "host": row["name"]}
    host.limits = {}
    return host


def _spec(wanted: dict[str, int]) -> Any:
    flavor = objects.Flavor(
        id=1,
        name="m",
        flavorid="1",
        vcpus=wanted["vcpus"],
        memory_mb=wanted["ram_mb"],
        root_gb=wanted["disk_gb"],
        ephemeral_gb=0,
        swap=0,
        extra_specs={},
    )
    return objects.RequestSpec(
        flavor=flavor,
        image=objects.ImageMeta(properties=objects.ImageMetaProps()),
        project_id="p",
        num_instances=1,
        instance_group=None,
        numa_topology=None,
        pci_requests=None,
        force_hosts=None,
        force_nodes=None,
        ignore_hosts=None,
        retry=None,
        limits=objects.SchedulerLimits(),
        scheduler_hints={},
        requested_destination=None,
        requested_resources=[],
        security_groups=objects.SecurityGroupList(),
        instance_uuid=str(uuid.uuid4()),
    )


if __name__ == "__main__":
    from nova.scheduler.filters import compute_filter

    compute_filter.servicegroup.API = _Up
    main()
