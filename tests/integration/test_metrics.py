"""/metrics and /readyz: right figures, for the right readers, also when parts are away."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from app.models import Cleanup, Host
from app.store import database
from app.store.database import transaction
from app.tasks import metering
from app.web.factory import create_app
from tests import dashboard
from tests.asking import forget_process_state
from tests.cloud import Cloud, allowed, eventually, running
from tests.http_client import Client
from tests.integration.web_fixtures import Site, adopt_settings

pytest_plugins = ["tests.integration.web_fixtures"]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(answer: str) -> Samples:
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(answer)
        for one in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def scrape(site: Site) -> Samples:
    answer = site.get("/metrics", None)
    assert answer.status_code == 200, answer.text
    return samples(answer.text)


def add_host(name: str, **more: Any) -> None:
    values: dict[str, Any] = {
        "uuid": f"uuid-{name}",
        "number": len(name) + int(name[-1]),
        "session": "s",
        "state": "up",
        "vcpus": 8,
        "ram_mb": 1024,
        "reserved_ram_mb": 512,
        "disk_gb": 10,
        "cpu_ratio": 4.0,
        "ram_ratio": 1.0,
        "disk_ratio": 1.0,
    }
    with transaction() as session:
        session.add(Host(name=name, **(values | more)))


def test_requests_are_counted_by_service_method_and_class(site: Site):
    site.get("/compute/v2.1/os-keypairs")
    site.get("/compute/v2.1/os-keypairs/absent")
    site.call("BREW", "/coffee/pot", None)
    found = scrape(site)
    assert (
        value(found, "novella_requests_total", service="compute", method="GET", status="2xx") == 1
    )
    assert (
        value(found, "novella_requests_total", service="compute", method="GET", status="4xx") == 1
    )
    assert (
        value(found, "novella_requests_total", service="other", method="other", status="4xx") == 1
    )
    assert value(found, "novella_request_seconds_count", service="compute") == 2
    assert not any("coffee" in str(key) for key in found)


def test_hosts_servers_and_what_is_due_are_as_the_database_has_them(site: Site):
    add_host("n1", used_vcpus=3, used_ram_mb=256, used_disk_gb=2)
    add_host("n2", state="down", enabled=False)
    add_host("n3", forced_down=True)
    server_id = site.built()
    with transaction() as session:
        session.add(
            Cleanup(
                server_id=server_id, host="n2", fence=1, next_ring_at=0, created_at=time.time() - 50
            )
        )
    found = scrape(site)
    states = {"up": 1, "down": 1, "reconciling": 0, "driver_down": 0, "forced_down": 1}
    assert {s: value(found, "novella_hosts", state=s) for s in states} == states
    assert value(found, "novella_hosts_disabled") == 1
    assert value(found, "novella_capacity", resource="vcpus") == 24
    assert value(found, "novella_limit", resource="vcpus") == 96
    assert value(found, "novella_used", resource="vcpus") == 3
    assert value(found, "novella_limit", resource="ram_bytes") == 3 * 512 << 20
    assert value(found, "novella_used", resource="disk_bytes") == 2 << 30
    assert value(found, "novella_servers", vm_state="active") == 1
    assert value(found, "novella_cleanups") == 1
    assert 50 <= value(found, "novella_cleanup_age_seconds") < 80
    assert value(found, "novella_database_up") == 1
    assert value(found, "novella_broker_up") == 0


def test_no_name_or_id_of_a_tenant_is_in_it(site: Site):
    server_id = site.built()
    image_id = site.add_image()
    text = site.get("/metrics", None).text
    assert not [word for word in (server_id, image_id, "admin", "other-", "tiny") if word in text]


def test_a_scrape_is_answered_from_memory_for_a_moment(site: Site):
    add_host("n1")
    assert value(scrape(site), "novella_hosts", state="up") == 1
    add_host("n2")
    assert value(scrape(site), "novella_hosts", state="up") == 1
    eventually(lambda: value(scrape(site), "novella_hosts", state="up") == 2, 5)


def test_the_image_store_s_room_is_told(site: Site):
    site.add_image(content=b"x" * 8192)
    found = scrape(site)
    assert value(found, "novella_image_store_bytes") == 8192
    assert value(found, "novella_image_store_free_bytes") > 0


def test_without_the_database_the_rest_is_told(site: Site):
    with transaction() as session:
        session.execute(text("ALTER TABLE hosts RENAME TO elsewhere"))
    found = scrape(site)
    assert value(found, "novella_database_up") == 0
    assert value(found, "novella_image_store_bytes") == 0
    assert not any(name == "novella_hosts" for name, _ in found)


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("10.0.0.9", {}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.9"}, 403),
        ("127.0.0.1", {"X-Forwarded-Something": "1"}, 403),
        ("127.0.0.1", {"Forwarded": "for=10.0.0.9"}, 403),
        ("127.0.0.1", {"Via": "1.1 proxy"}, 403),
    ],
)
def test_without_a_token_only_this_machine_reads_and_not_by_a_proxy(
    site: Site, peer: str, headers: dict[str, str], status: int
):
    answer = site.get("/metrics", None, headers=headers, environ_base={"REMOTE_ADDR": peer})
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("Bearer right", 200),
        ("Bearer wrong", 401),
        ("Bearer rïght", 401),
        ("Basic eDp5", 401),
        ("", 401),
    ],
)
def test_with_a_token_it_is_the_token_that_counts(
    site: Site, monkeypatch: pytest.MonkeyPatch, given: str, status: int
):
    settings = adopt_settings(
        monkeypatch, site.directory, metrics_token="right", trusted_proxies="1"
    )
    other = Site(create_app(settings), site.directory)
    headers = {"X-Forwarded-For": "10.0.0.9"} | ({"Authorization": given} if given else {})
    answer = other.get("/metrics", None, headers=headers)
    assert answer.status_code == status
    assert "right" not in answer.text


def test_a_proxy_cannot_speak_for_this_machine(site: Site, monkeypatch: pytest.MonkeyPatch):
    settings = adopt_settings(monkeypatch, site.directory, trusted_proxies="1")
    other = Site(create_app(settings), site.directory)
    forged = {"X-Forwarded-For": "127.0.0.1"}
    assert other.get("/metrics", None, headers=forged).status_code == 403


def test_ready_without_the_broker_and_not_without_the_schema(site: Site):
    answer = site.get("/readyz", None)
    assert answer.status_code == 200
    assert answer.json["broker"] == {"ok": False, "age": None}
    with transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    refused = site.get("/readyz", None)
    assert refused.status_code == 503
    assert "novella db upgrade" in refused.text
    assert site.get("/healthz", None).status_code == 200


def test_a_broker_that_hangs_delays_nobody_for_long(site: Site, monkeypatch: pytest.MonkeyPatch):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        app = create_app(adopt_settings(monkeypatch, site.directory, broker_url=url))
        other = Site(app, site.directory)
        began = time.monotonic()
        for path in ("/readyz", "/metrics", "/readyz"):
            assert other.get(path, None).status_code == 200
        assert time.monotonic() - began < allowed(3)


@pytest.fixture
def web(tmp_path: Path) -> Any:
    """A cloud of real processes, on the fake driver."""
    with running(Cloud(tmp_path)) as cloud:
        cloud.start_control()
        cloud.start_host("n1")
        cloud.start_web()
        cloud.hosts_up("n1")
        yield cloud
    database.engine.cache_clear()
    forget_process_state()


def assert_the_dashboard_and_the_alerts_show_what_there_is(found: Samples) -> None:
    exported = {name for name, _ in found}
    assert dashboard.metrics(dashboard.expressions()) - exported == set()
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in exported}
    ours = {name for name in families if name.startswith("novella_")}
    seen = {re.sub("_(bucket|count|sum)$", "", one) for one in dashboard.metrics(dashboard.shown())}
    assert ours - seen == set()


def test_work_is_measured_and_metrics_outlive_redis(web: Cloud):
    root = f"http://127.0.0.1:{web.web_port}"
    client = Client(root)
    image = client.call(
        "POST",
        "/image/v2/images",
        201,
        json={"name": "i", "disk_format": "raw", "container_format": "bare"},
    ).json()["id"]
    octets = {"Content-Type": "application/octet-stream"}
    client.call("PUT", f"/image/v2/images/{image}/file", 204, data=b"x" * 4096, headers=octets)
    _, task = client.create(image)
    assert client.finished(task)["state"] == "succeeded"

    def told() -> Samples:
        return samples(client.call("GET", "/metrics").text)

    def ended(found: Samples) -> float:
        key = (
            "novella_actions_ended_total",
            frozenset({("kind", "create"), ("state", "succeeded")}),
        )
        return found.get(key, 0)

    found = eventually(lambda: (now := told()) and ended(now) and now, 10)
    assert value(found, "novella_actions_accepted_total", kind="create") == 1
    for stage in ("schedule", "claim", "build", "commit", "resume"):
        labels = {"kind": "create", "stage": stage, "direction": "do", "result": "succeeded"}
        assert value(found, "novella_stage_seconds_count", **labels) == 1
    assert value(found, "novella_broker_up") == 1
    assert value(found, "novella_queue_length", queue="host-n1") == 0
    assert client.call("GET", "/readyz").json()["broker"]["ok"] is True

    web.kill("host-n1")
    client.create(image, name="waits")
    rings = eventually(lambda: web.redis().hgetall(metering.RINGS), 20, "the sweep rings again")
    assert rings["build"] == "1"
    found = eventually(
        lambda: (now := told()) and value(now, "novella_rings_total", stage="build") and now, 10
    )
    waiting = {"stage": "build", "queue": "host-{name}"}
    assert value(found, "novella_actions_unfinished", **waiting) == 1
    assert value(found, "novella_action_age_seconds", **waiting) > 1

    assert_the_dashboard_and_the_alerts_show_what_there_is(found)

    web.kill("redis")
    found = eventually(lambda: (now := told()) and not value(now, "novella_broker_up") and now, 20)
    assert value(found, "novella_servers", vm_state="active") == 1
    ready = client.call("GET", "/readyz").json()["broker"]
    assert ready["ok"] is False
    assert ready["age"] > 0
