"""A broker's URL, and what Celery is told of it."""

from __future__ import annotations

import ssl

import pytest

from app import broker, rabbitmq
from app.broker_url import address
from app.config import Settings
from app.errors import Invalid

SENTINELS = "sentinel://:p%2Fw@r1:26379;sentinel://r2;sentinel://r3:1/2?master_name=novella"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://:p%2Fw@r:6379/1", "redis://:p%2Fw@r:6379/1"),
        ("redis://r", "redis://r"),
        ("rediss://r:6380/0", "rediss://r:6380/0?ssl_cert_reqs=required"),
        (
            "rediss://r/0?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=none",
            "rediss://r/0?ssl_cert_reqs=none&ssl_ca_certs=/etc/ca.pem",
        ),
        ("redis+socket:///run/r.sock", "redis+socket:///run/r.sock"),
        (
            "redis+socket://:pw@/run/r.sock?virtual_host=3",
            "redis+socket://:pw@/run/r.sock?virtual_host=3",
        ),
        (
            SENTINELS,
            "sentinel://:p%2Fw@r1:26379/2;sentinel://:p%2Fw@r2/2;sentinel://:p%2Fw@r3:1/2",
        ),
        ("amqp://u:pw@a//;amqp://u:pw@b//", "amqp://u:pw@a//;amqp://u:pw@b//"),
        ("amqps://u:pw@a/v?ssl_ca_certs=/ca.pem", "amqps://u:pw@a/v"),
    ],
)
def test_celery_is_told_what_it_understands(url: str, told: str) -> None:
    assert address(url).celery_url() == told


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://r", "use redis://"),
        ("redis://r:port/0", "port"),
        ("redis://r1;redis://r2", "sentinel://"),
        ("redis://r1;amqp://r2", "begins with"),
        ("redis://r/0?ssl_ca_certs=/ca.pem", "ssl_ca_certs"),
        ("sentinel://r1/0", "master_name"),
        ("amqp://:secret@r?heartbeat=3", "heartbeat"),
    ],
)
def test_a_url_that_no_broker_has_is_refused_in_words(url: str, word: str) -> None:
    with pytest.raises(Invalid, match=word) as refused:
        address(url)
    assert "secret" not in refused.value.message


def test_rabbitmq_keeps_no_results() -> None:
    with pytest.raises(Invalid, match="NOVELLA_RESULT_URL"):
        broker.result_url(Settings(broker_url="amqp://u:pw@mq//"))


def test_a_database_that_is_no_number_is_refused() -> None:
    with pytest.raises(Invalid, match="number"):
        broker.redis_client("redis+socket:///run/r.sock?virtual_host=one")


def test_publishing_waits_two_seconds_at_most_over_any_broker() -> None:
    for url in ("redis://r", "amqp://u:pw@r//"):
        told = broker.celery_settings(Settings(broker_url=url), publishing=True)
        options = told["broker_transport_options"]
        assert told["broker_connection_timeout"] == 1
        assert {options.get("socket_timeout"), options.get("read_timeout")} == {2, None}
    sentinels = broker.transport_options(SENTINELS, publishing=True)
    assert sentinels["master_name"] == "novella"
    assert sentinels["sentinel_kwargs"]["socket_timeout"] == 2


def test_rabbitmq_over_tls_is_verified() -> None:
    url = "amqps://u:pw@mq//?ssl_ca_certs=/ca.pem"
    told = broker.celery_settings(Settings(broker_url=url), publishing=False)
    assert told["broker_use_ssl"]["cert_reqs"] is ssl.CERT_REQUIRED
    assert told["broker_use_ssl"]["ca_certs"] == "/ca.pem"
    assert {queue.name for queue in told["task_queues"]} == {"scheduler", "conductor"}


def test_only_queues_of_hosts_are_forgotten() -> None:
    made = rabbitmq.HostQueues(rabbitmq.control_queues())
    assert made["host-n1"].queue_arguments == {"x-expires": rabbitmq.FORGET_MS}
    assert not made["scheduler"].queue_arguments
