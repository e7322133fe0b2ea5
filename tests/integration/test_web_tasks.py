"""`/v1/tasks`: polling, waiting, following, listing, cancelling."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import update

from app.models import Action, ActionEvent
from app.store.database import transaction
from app.web import connection
from tests.cloud import Cloud, allowed, eventually, running
from tests.integration.web_fixtures import Site, credentials, seeded_database, site
from tests.templates import PASSWORDS

__all__ = ["seeded_database", "site"]


def change(task: str, **columns: Any) -> None:
    """What the pipeline does to a task's row."""
    with transaction() as session:
        session.execute(
            update(Action).where(Action.id == task).values(revision=Action.revision + 1, **columns)
        )


def end(task: str, state: str = "succeeded") -> None:
    """A task's end."""
    change(task, state=state, finished_at=Action.created_at + 1)


def accepted(site: Site, **more: Any) -> str:
    """A create's task."""
    return str(site.add_server(**more).headers["X-Task-Id"])


def test_a_task_is_shown_with_its_steps_and_links(site: Site) -> None:
    answer = site.add_server()
    task = answer.headers["X-Task-Id"]
    shown = site.get(f"/v1/tasks/{task}").json
    assert set(shown) >= {
        "id", "kind", "server_id", "project_id", "request_id", "state", "stage", "tries", "host",
        "progress", "message", "steps", "fault", "created_at", "started_at", "finished_at", "links",
    }  # fmt: skip
    assert (shown["id"], shown["kind"], shown["state"]) == (task, "create", "queued")
    assert shown["request_id"] == answer.headers["x-openstack-request-id"]
    assert [one["name"] for one in shown["steps"]] == ["schedule"]
    assert site.get(shown["links"]["self"]).json["id"] == task
    assert site.get(shown["links"]["server"]).status_code == 200
    assert site.get(shown["links"]["events"]).mimetype == "text/event-stream"


def test_hosts_and_tracebacks_are_for_admins(site: Site) -> None:
    task = accepted(site)
    fault = {"code": "disk_full", "message": "no room", "details": "Traceback …"}
    change(task, host="n1", fault=fault)
    with transaction() as session:
        session.execute(
            update(ActionEvent).where(ActionEvent.action_id == task).values(host="n1", fault=fault)
        )
    mine = site.get(f"/v1/tasks/{task}").json
    assert mine["host"] is None
    assert mine["fault"] == {"code": "disk_full", "message": "no room"}
    assert (mine["steps"][0]["host"], mine["steps"][0]["fault"]) == (None, mine["fault"])
    admins = site.get(f"/v1/tasks/{task}", "admin").json
    assert (admins["host"], admins["steps"][0]["host"]) == ("n1", "n1")
    assert admins["fault"]["details"] == "Traceback …"


def test_polling_with_an_etag_is_304_until_something_changes(site: Site) -> None:
    task = accepted(site)
    first = site.get(f"/v1/tasks/{task}")
    headers = {"If-None-Match": first.headers["ETag"]}
    same = site.get(f"/v1/tasks/{task}", headers=headers)
    assert (same.status_code, same.data) == (304, b"")
    assert same.headers["ETag"] == first.headers["ETag"]
    change(task, progress=50)
    changed = site.get(f"/v1/tasks/{task}", headers=headers)
    assert (changed.status_code, changed.json["progress"]) == (200, 50)


def test_live_progress_is_shown_and_changes_the_etag(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = accepted(site)
    change(task, state="running", progress=10, message="starting")
    before = site.get(f"/v1/tasks/{task}")
    assert (before.json["progress"], before.json["message"]) == (10, "starting")
    monkeypatch.setattr(
        "app.web.v1.tasks.live", lambda ids: dict.fromkeys(ids, (63, "downloading image"))
    )
    headers = {"If-None-Match": before.headers["ETag"]}
    now = site.get(f"/v1/tasks/{task}", headers=headers)
    assert now.status_code == 200
    assert (now.json["progress"], now.json["message"]) == (63, "downloading image")


def test_a_wait_ends_with_the_change(site: Site) -> None:
    task = accepted(site)
    etag = site.get(f"/v1/tasks/{task}").headers["ETag"]
    timer = threading.Timer(0.6, lambda: change(task, progress=30))
    timer.start()
    start = time.monotonic()
    answer = site.get(f"/v1/tasks/{task}?wait=20", headers={"If-None-Match": etag})
    assert (answer.status_code, answer.json["progress"]) == (200, 30)
    assert 0.5 < time.monotonic() - start < allowed(3)
    timer.join()


def test_a_wait_without_change_is_304_or_the_present_state(site: Site) -> None:
    task = accepted(site)
    etag = site.get(f"/v1/tasks/{task}").headers["ETag"]
    start = time.monotonic()
    same = site.get(f"/v1/tasks/{task}?wait=1", headers={"If-None-Match": etag})
    assert same.status_code == 304
    assert site.get(f"/v1/tasks/{task}?wait=1").json["state"] == "queued"
    assert 2 <= time.monotonic() - start < allowed(5)


def test_a_wait_for_what_has_ended_or_already_changed_ends_at_once(site: Site) -> None:
    task = accepted(site)
    start = time.monotonic()
    stale = site.get(f"/v1/tasks/{task}?wait=20", headers={"If-None-Match": '"stale"'})
    assert stale.status_code == 200
    end(task)
    done = site.get(f"/v1/tasks/{task}?wait=20")
    assert (done.json["state"], done.json["progress"]) == ("succeeded", 100)
    headers = {"If-None-Match": done.headers["ETag"]}
    assert site.get(f"/v1/tasks/{task}?wait=20", headers=headers).status_code == 304
    assert time.monotonic() - start < allowed(2)


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    """(id, document) of each event in a stream."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if fields.get("event") == "task":
            found.append((fields["id"], json.loads(fields["data"])))
    return found


def test_the_event_stream_ends_with_the_final_document(site: Site) -> None:
    task = accepted(site)
    threading.Timer(0.5, lambda: change(task, state="running", progress=40)).start()
    threading.Timer(1.2, lambda: end(task, "failed")).start()
    events = events_of(site.get(f"/v1/tasks/{task}/events").text)
    assert [document["state"] for _, document in events] == ["queued", "running", "failed"]
    last = events[-1][0]
    again = site.get(f"/v1/tasks/{task}/events", headers={"Last-Event-ID": events[0][0]})
    assert [one for one, _ in events_of(again.text)] == [last]
    over = site.get(f"/v1/tasks/{task}/events", headers={"Last-Event-ID": last})
    assert over.status_code == 204


def test_tasks_are_listed_filtered_and_paged(site: Site) -> None:
    image = site.add_image()
    tasks = [accepted(site, imageRef=image) for _ in range(3)]
    end(tasks[0])

    def listed(query: str, user: str = "novella") -> list[str]:
        return [one["id"] for one in site.get(f"/v1/tasks?{query}", user).json["tasks"]]

    assert listed("") == tasks[::-1]
    assert listed("state=succeeded") == tasks[:1]
    assert listed("kind=delete") == []
    server = site.get(f"/v1/tasks/{tasks[1]}").json["server_id"]
    assert listed(f"server_id={server}") == [tasks[1]]
    assert listed("since=2001-01-01T00:00:00Z") == tasks[::-1]
    assert listed("since=2999-01-01T00:00:00Z") == []
    assert listed("", "admin") == []
    assert listed("all_projects=1", "admin") == tasks[::-1]
    assert listed("all_projects=1", "other") == []
    page = site.get("/v1/tasks?limit=2").json
    assert [one["id"] for one in page["tasks"]] == tasks[:0:-1]
    rest = site.get(page["links"]["next"]).json
    assert [one["id"] for one in rest["tasks"]] == tasks[:1]


@pytest.mark.parametrize(
    "path",
    [
        "?limit=x",
        "?state=odd",
        "?since=now",
        "?marker=none",
        "/{}?wait=61",
        "/{}?wait=-1",
        "/{}?wait=x",
    ],  # fmt: skip
)
def test_a_bad_task_query_is_a_problem_document(site: Site, path: str) -> None:
    answer = site.get("/v1/tasks" + path.format(accepted(site)))
    assert answer.status_code == 400
    assert answer.mimetype == "application/problem+json"
    assert set(answer.json) >= {"type", "title", "status", "detail"}


def test_a_create_can_be_cancelled_and_what_has_ended_cannot(site: Site) -> None:
    task = accepted(site)
    cancelled = site.delete(f"/v1/tasks/{task}")
    assert (cancelled.status_code, cancelled.json["state"]) == (202, "cancelled")
    assert cancelled.json["fault"]["code"] == "cancelled"
    again = site.delete(f"/v1/tasks/{task}")
    assert again.status_code == 409
    assert again.json["status"] == 409


def test_more_waits_than_threads_can_bear_are_answered_at_once(site: Site) -> None:
    site.app.extensions["novella"].watcher._room = 1
    task, token = accepted(site), site.token()
    headers = {"X-Auth-Token": token}
    with ThreadPoolExecutor(4) as pool:
        start = time.monotonic()
        calls = [
            pool.submit(site.get, f"/v1/tasks/{task}?wait=3", None, headers=headers)
            for _ in range(4)
        ]
        taken = []
        for call in calls:
            assert call.result().status_code == 200
            taken.append(time.monotonic() - start)
    assert len([one for one in taken if one < 2]) <= 3
    assert max(taken) >= 3


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Cloud, dict[str, str]]]:
    """A cloud with a real web process, and the headers of its member."""
    with running(Cloud(tmp_path)) as cloud:
        cloud.start_web()
        body = credentials("novella", PASSWORDS["novella"])
        answer = requests.post(f"{url(cloud)}/identity/v3/auth/tokens", json=body, timeout=10)
        yield cloud, {"X-Auth-Token": answer.headers["X-Subject-Token"]}


def url(cloud: Cloud) -> str:
    """Where the cloud's web process listens."""
    return f"http://127.0.0.1:{cloud.web_port}"


def create(cloud: Cloud, headers: dict[str, str]) -> str:
    """An image and a server of it through a real web process; the task's id."""
    body = {"name": "i", "disk_format": "raw", "container_format": "bare"}
    image = requests.post(f"{url(cloud)}/image/v2/images", json=body, headers=headers, timeout=10)
    put = requests.put(
        f"{url(cloud)}/image/v2/images/{image.json()['id']}/file",
        data=iter([b"x" * 1000] * 5),
        headers=headers | {"Content-Type": "application/octet-stream"},
        timeout=10,
    )
    assert put.status_code == 204, put.text
    server = {"name": "vm", "flavorRef": "6", "imageRef": image.json()["id"]}
    answer = requests.post(
        f"{url(cloud)}/compute/v2.1/servers", json={"server": server}, headers=headers, timeout=10
    )
    assert answer.status_code == 202, answer.text
    return str(answer.headers["X-Task-Id"])


def test_300_long_waits_do_not_delay_a_plain_get(web: tuple[Cloud, dict[str, str]]) -> None:
    cloud, headers = web
    task = create(cloud, headers)
    path = f"{url(cloud)}/v1/tasks/{task}"
    etag = requests.get(path, headers=headers, timeout=10).headers["ETag"]
    waiting = headers | {"If-None-Match": etag}

    def wait() -> int:
        return requests.get(f"{path}?wait=30", headers=waiting, timeout=60).status_code

    def plain() -> float:
        start = time.monotonic()
        answer = requests.get(f"{url(cloud)}/compute/v2.1/flavors", headers=headers, timeout=10)
        assert answer.status_code == 200
        return time.monotonic() - start

    with ThreadPoolExecutor(300) as pool:
        waits = [pool.submit(wait) for _ in range(300)]
        time.sleep(3)
        during = sorted(plain() for _ in range(30))
        assert not any(one.done() for one in waits)
        start = time.monotonic()
        requests.delete(path, headers=headers, timeout=10)
        answers = [one.result() for one in waits]
        woken = time.monotonic() - start
    assert answers == [200] * 300
    assert during[15] < 0.2, f"plain GETs took {during}"
    assert woken < 10


def test_uploads_over_a_real_connection_are_limited_and_downloads_whole(
    web: tuple[Cloud, dict[str, str]],
) -> None:
    cloud, headers = web
    images = f"{url(cloud)}/image/v2/images"
    body = {"name": "i", "disk_format": "raw", "container_format": "bare"}
    image = requests.post(images, json=body, headers=headers, timeout=10).json()["id"]
    octets = headers | {"Content-Type": "application/octet-stream"}
    said = requests.put(
        f"{images}/{image}/file",
        data=b"",
        headers=octets | {"Content-Length": "9" * 14},
        timeout=10,
    )
    assert said.status_code == 413
    content = bytes(range(256)) * 40_000
    put = requests.put(f"{images}/{image}/file", data=content, headers=octets, timeout=30)
    assert put.status_code == 204
    read = requests.get(f"{images}/{image}/file", headers=headers, timeout=30)
    assert read.content == content
    large = requests.post(
        f"{url(cloud)}/compute/v2.1/servers", data=iter([b"x" * 1000] * 200), headers=headers
        | {"Content-Type": "application/json"}, timeout=10,
    )  # fmt: skip
    assert large.status_code == 413


@pytest.mark.parametrize("chunked", [True, False])
def test_a_client_that_sends_too_much_gets_to_read_the_refusal(
    tmp_path: Path, chunked: bool
) -> None:
    with running(Cloud(tmp_path, settings={"image_limit_gb": "0"})) as cloud:
        cloud.start_web()
        body = credentials("novella", PASSWORDS["novella"])
        answer = requests.post(f"{url(cloud)}/identity/v3/auth/tokens", json=body, timeout=10)
        headers = {"X-Auth-Token": answer.headers["X-Subject-Token"]}
        images = f"{url(cloud)}/image/v2/images"
        record = {"name": "i", "disk_format": "raw", "container_format": "bare"}
        image = requests.post(images, json=record, headers=headers, timeout=10).json()["id"]
        pieces = [b"x" * 1_000_000] * 40
        put = requests.put(
            f"{images}/{image}/file",
            data=iter(pieces) if chunked else b"".join(pieces),
            headers=headers | {"Content-Type": "application/octet-stream"},
            timeout=30,
        )
        assert put.status_code == 413
        assert status(images, image, headers) == "queued"
        assert list((tmp_path / "images").glob("*")) == []


@pytest.mark.parametrize("framing", ["Content-Length: 5000", "Transfer-Encoding: chunked"])
def test_an_upload_that_is_cut_off_leaves_the_image_queued(
    web: tuple[Cloud, dict[str, str]], framing: str
) -> None:
    cloud, headers = web
    images = f"{url(cloud)}/image/v2/images"
    body = {"name": "i", "disk_format": "raw", "container_format": "bare"}
    image = requests.post(images, json=body, headers=headers, timeout=10).json()["id"]
    data = b"x" * 100 if "Length" in framing else b"64\r\n" + b"x" * 100 + b"\r\n"
    head = (
        f"PUT /image/v2/images/{image}/file HTTP/1.1\r\nHost: x\r\n{framing}\r\n"
        f"X-Auth-Token: {headers['X-Auth-Token']}\r\n"
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", cloud.web_port)) as connection:
        connection.sendall(head.encode() + data)
        eventually(lambda: status(images, image, headers) == "saving")
    eventually(lambda: status(images, image, headers) == "queued")
    eventually(lambda: not list((cloud.directory / "images").iterdir()), 5, "no file is left")
    assert "unexpected error" not in cloud.log("web")


def status(images: str, image: str, headers: dict[str, str]) -> str:
    """An image's status."""
    shown = requests.get(f"{images}/{image}", headers=headers, timeout=10)
    return str(shown.json()["status"])


def test_a_client_that_stalls_is_given_up(site: Site) -> None:
    class Socket:
        seconds: float | None = None

        def settimeout(self, seconds: float) -> None:
            self.seconds = seconds

    stalled = Socket()
    site.client.get("/healthz", environ_overrides={"gunicorn.socket": stalled})
    assert stalled.seconds == connection.PATIENCE_SECONDS
