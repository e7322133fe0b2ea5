"""Hypervisors' rows, and an administrator who asks about them over HTTP."""

from __future__ import annotations

import uuid
from typing import Any

from app.domain.message import VERSION
from app.models import Host
from app.store.database import transaction
from tests.integration.web_fixtures import Site

V = "/compute/v2.1"
HYPERVISORS, SERVICES = f"{V}/os-hypervisors", f"{V}/os-services"


def add_host(name: str, number: int, **more: Any) -> str:
    """A hypervisor's row; its uuid."""
    columns = {
        "state": "up",
        "speaks": VERSION,
        "session": "s",
        "hostname": f"{name}.example",
        "address": "192.0.2.7",
        "hypervisor_type": "QEMU",
        "hypervisor_version": 8002000,
        "cpu_model": "EPYC",
        "vcpus": 8,
        "ram_mb": 8192,
        "disk_gb": 100,
        "reserved_ram_mb": 512,
        "cpu_ratio": 4.0,
        "ram_ratio": 1.0,
        "disk_ratio": 1.0,
        "booted_at": 1.7e9,
    }
    id_ = str(uuid.uuid4())
    with transaction() as session:
        session.add(Host(name=name, number=number, uuid=id_, **(columns | more)))
    return id_


def admin(site: Site, path: str, version: str = "2.1", **more: Any) -> Any:
    """The administrator's GET, which succeeds."""
    answer = site.get(path, "admin", version=version, **more)
    assert answer.status_code == 200, answer.text
    return answer.json


def update(site: Site, service: str, version: str = "2.53", **body: Any) -> Any:
    """The answer to an administrator's change of a service."""
    return site.call("PUT", f"{SERVICES}/{service}", "admin", json=body, version=version)
