"""The Celery application: settings, roles and routes, all from worker_queues.yaml.

`celery -A app worker -Q scheduler,conductor` is a scheduler worker, `celery -A app worker -Q
host-<name>` a hypervisor's whole agent: the worker class below knows the role by its queues,
imports that role's tasks, and starts its background thread.
"""

from __future__ import annotations

import socket
import warnings
from typing import Any

from celery import Celery
from celery.apps.worker import Worker as CeleryWorker
from celery.platforms import SecurityWarning
from celery.signals import setup_logging
from kombu.utils.objects import cached_property

from app import broker, logs
from app.config import settings
from app.hardening import harden
from app.publisher import common
from app.topology import topology

ROLE_MODULES = {
    "control": ("app.tasks.control.tasks", "app.tasks.control.sweep"),
    "host": ("app.tasks.host.tasks", "app.tasks.host.agent"),
}


# Celery warns of root before the worker begins; root is what a hypervisor's agent is.
warnings.filterwarnings("ignore", category=SecurityWarning)

_role: list[str] = []
"""What this process calls itself in its logs: set by the worker, before logging is set up."""


class Worker(CeleryWorker):
    """A worker that is right without flags: pool, threads, name and modules by its queues."""

    def __init__(self, app: Any = None, hostname: str | None = None, **kwargs: Any) -> None:
        given = kwargs.get("queues") or ""
        queues = [q for q in (given.split(",") if isinstance(given, str) else given) if q]
        role = topology().role_of(queues) if queues else None
        if role is not None:
            _role.append(queues[0] if role.name == "host" else role.name)
            kwargs["concurrency"] = kwargs.get("concurrency") or role.concurrency
            hostname = f"{queues[0]}@{socket.gethostname()}"
            self.app.conf.imports = ROLE_MODULES[role.name]
        # Gossip and mingle cost N² and seconds per reconnect; Celery has no setting for them.
        kwargs |= {"without_gossip": True, "without_mingle": True, "without_heartbeat": False}
        kwargs["quiet"] = True  # no banner: a log is one JSON object a line
        super().__init__(app=app, hostname=hostname, **kwargs)


class Novella(Celery):
    """A Celery app whose workers are ours."""

    @cached_property
    def Worker(self) -> type[Worker]:  # Celery's name
        """The worker class, bound to this app as Celery binds its own."""
        return self.subclass_with_self(Worker)


def make_app() -> Celery:
    """The app of workers and of Flower."""
    configured = settings()
    made = Novella(
        "novella",
        backend=broker.result_url(configured),
        amqp=broker.messaging(configured.broker_url),
    )
    made.conf.update(common(publishing=False))
    made.conf.update(
        worker_pool="threads",
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        worker_enable_remote_control=True,
        # Two scheduler workers of a machine bear one name, and so does a worker that comes back
        # before RabbitMQ has noticed that it went: neither may lock the other out.
        control_queue_exclusive=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        task_acks_late=False,
        task_track_started=False,
        task_ignore_result=True,
        result_expires=86400,
        result_backend_transport_options=broker.result_options(configured),
        redis_socket_timeout=5.0,
        redis_socket_connect_timeout=2.0,
        redis_retry_on_timeout=False,
        broker_connection_max_retries=None,
        broker_connection_retry_on_startup=True,
    )
    harden(made)
    return made


def _logging(loglevel: Any = None, **kwargs: Any) -> None:
    logs.configure(settings(), _role[-1] if _role else "worker")


setup_logging.connect(_logging)


app = make_app()
