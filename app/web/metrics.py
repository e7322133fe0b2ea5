"""`/metrics` for Prometheus: this process's own requests, and the cloud as the database has it."""

from __future__ import annotations

import hmac
import ipaddress
import time
from dataclasses import dataclass
from typing import cast

from flask import Flask, Response, current_app, g, request
from flask_restx import Namespace
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from app.config import Settings
from app.errors import Forbidden, Unauthorized
from app.web import context
from app.web.api import Route
from app.web.broker_watch import BrokerWatch
from app.web.cloud_figures import CloudCollector
from app.web.filters import SERVICES

ns = Namespace("metrics", "For Prometheus", path="/")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_FORWARDED = frozenset({"forwarded", "via", "x-real-ip"})


@dataclass(frozen=True)
class Metrics:
    """What one web application measures."""

    registry: CollectorRegistry
    requests: Counter
    seconds: Histogram
    broker: BrokerWatch


def install(app: Flask, settings: Settings) -> None:
    """Measure the requests of `app`."""
    disable_created_metrics()
    registry = CollectorRegistry()
    broker = BrokerWatch(settings)
    made = Metrics(
        registry,
        Counter(
            "novella_requests",
            "Requests answered by this process.",
            ("service", "method", "status"),
            registry=registry,
        ),
        Histogram(
            "novella_request_seconds",
            "From a request's arrival until its answer begins; long polls wait on purpose.",
            ("service",),
            buckets=SECONDS,
            registry=registry,
        ),
        broker,
    )
    ProcessCollector(registry=registry)
    registry.register(CloudCollector(settings, broker))
    app.extensions["novella.metrics"] = made
    app.after_request(_count)


def metrics() -> Metrics:
    """The application's."""
    return cast(Metrics, current_app.extensions["novella.metrics"])


def _count(response: Response) -> Response:
    service = context.service()
    service = service if service in SERVICES else "other"
    method = request.method if request.method in METHODS else "other"
    measured = metrics()
    measured.requests.labels(service, method, f"{response.status_code // 100}xx").inc()
    if "started" in g:
        measured.seconds.labels(service).observe(time.monotonic() - g.started)
    return response


@ns.route("/metrics")
class Scrape(Route):
    public = True

    @ns.doc(security=[])
    def get(self) -> Response:
        """Everything that is measured, in Prometheus' text format."""
        _require_right()
        text = generate_latest(metrics().registry)
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _require_right() -> None:
    """The token when one is set; else a program on this machine that no proxy speaks for."""
    wanted = context.settings().metrics_token
    if wanted:
        given = request.authorization
        token = given.token if given is not None and given.type == "bearer" else None
        if not hmac.compare_digest((token or "").encode(), wanted.encode()):
            raise Unauthorized("Send the setting metrics_token as Authorization: Bearer.")
        return
    if not _is_local():
        raise Forbidden("Set metrics_token to read /metrics otherwise than over loopback.")


def _is_local() -> bool:
    names = [name.lower() for name in request.headers.keys()]  # noqa: SIM118  (no dict)
    if any(name in _FORWARDED or name.startswith("x-forwarded-") for name in names):
        return False
    try:
        return ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False
