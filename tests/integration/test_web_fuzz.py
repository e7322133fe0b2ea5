"""Whatever a client sends: below 500, in the service's own shape, and the bad field is named.

Over 10,000 requests, made from the application's own table of routes and its schemas; the same
ones in each run.
"""

from __future__ import annotations

import random
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

from tests.integration.tenants import Tenant, public_key, quiet, seeded_database, site, tenants
from tests.integration.test_web_tenancy import bodies
from tests.integration.web_fixtures import OCTETS, Site
from tests.routes import Endpoint, changed, endpoints, places

__all__ = ["quiet", "seeded_database", "site", "tenants"]
Pair = tuple[Tenant, Tenant]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
MIB = 1 << 20

VALUES: list[Any] = [
    None, True, -1, 1.0, 1.5, 2**40, 2**70, 1e308, "", " ", "x" * 300, "x" * 70_000, "\x01\n",
    "ü" * 200, [], {}, [[]], [None], {"made-up": 1}, {"": ""}, "not-a-uuid", "%s{0}'\"", 0,
]  # fmt: skip
BODIES: list[bytes] = [
    b"", b"{", b"\xff\xfe{}", b"null", b"[]", b"7", b'"x"', b"1e999", b'{"a":NaN}', b"{}{}", b"\0",
    b'{"\\u0000":1}', b'"\\ud800"', b'{"a":1,"a":2}', b"[" * 50_000, b'{"a":' * 20_000, b"<a/>",
    b"[" * 500 + b"]" * 500, b'{"server":' * 900 + b"{}" + b"}" * 900, b"a=b&c=d",
]  # fmt: skip
TYPES = ["application/json", "text/html", "", "x", "application/json; charset=latin-1",
         "multipart/form-data", "application/x-www-form-urlencoded", OCTETS]  # fmt: skip
JUNK = ["%00", "%ff%fe", "a" * 3000, "'%20OR%201=1%20--", "%C3%BC", "0", "-1", "None", "%0a",
        "%F0%9F%90%99", "..%2f..%2fetc", "{}", "99999999999999999999", "%2525", "*", "../..",
        "00000000-0000-0000-0000-000000000000", "%09x"]  # fmt: skip
QUERIES = [
    "limit=-1", "limit=x", "limit=0", "limit=99999999999999999999999", "limit=1&limit=2", "limit=",
    "limit=%31%00", "limit=1.5", "limit=%C2%B2", "marker=x", "marker=", "marker=%ff",
    "marker=00000000-0000-0000-0000-000000000000", "sort_key=colour", "sort_key=", "sort_dir=up",
    "sort_key=name&sort_key=id&sort_dir=asc&sort_dir=asc&sort_dir=x", "sort=name:up,x", "sort=:",
    "name=(((", "name=%5B", "name=" + "a" * 5000, "status=odd", "fields=x&fields=id", "ip=*",
    "changes-since=soon", "changes-since=0000-00-00T00:00:00Z", "changes-before=9999999-01-01",
    "is_public=maybe", "all_tenants=maybe", "deleted=maybe", "minRam=x", "minDisk=-1",
    "created_at=gt:x", "created_at=gt:0001-01-01T00:00:00Z", "updated_at=lt:9999-12-31T23:59:59Z",
    "size_min=-1", "size_max=x", "tag=%00", "tags=,,,", "visibility=odd", "os_hidden=maybe",
    "protected=maybe", "fixed_ips=x", "fixed_ips=ip_address=x", "shared=maybe", "start=x&end=y",
    "start=2030-01-01T00:00:00&end=2020-01-01T00:00:00", "detailed=x", "since=x", "state=odd",
    "wait=-1", "wait=61", "wait=x", "id=in:", "id=in:%22,", "=", "&&&", "%", "a[]=b", "host=%27",
    "user_id=x&project_id=y&tenant_id=z", "scope.project.id=x&role.id=y", "effective=x",
    "enabled=maybe", "domain_id=x", "flavor=x&image=y", "include_subtree=x", "binary=x",
]  # fmt: skip
HEADERS: list[dict[str, str]] = [
    {"OpenStack-API-Version": value}
    for value in ("compute 9.99", "compute x", "compute", "", "compute 2.1,compute 2.2", "x" * 999,
                  "compute -1.5", "compute 2.99999999999999", "compute \xb2.1", "volume 3.1")
] + [
    {"X-OpenStack-Nova-API-Version": "2.x"}, {"Idempotency-Key": "k" * 300},
    {"Idempotency-Key": ""}, {"Idempotency-Key": "ü"}, {"Content-Length": "x"},
    {"Content-Length": "-1"}, {"Range": "bytes=9-1"}, {"Range": "lines=x"},
    {"If-None-Match": '"'}, {"If-Range": "x"}, {"If-Modified-Since": "x"}, {"Accept": "x/x;q=9"},
    {"Last-Event-ID": "x" * 500}, {"Authorization": "Bearer"}, {"Authorization": "Basic !"},
    {"Authorization": "Bearer x.y.z"}, {"X-Subject-Token": "x"}, {"X-Subject-Token": "\xff" * 9},
    {"Host": "a b"}, {"Host": "[::"}, {"X-Forwarded-For": "x, y"}, {"Forwarded": "for=;;"},
    {"X-Openstack-Request-Id": "req-x"}, {"Transfer-Encoding": "gzip"}, {"Expect": "x"},
    {"Content-Encoding": "gzip"}, {"X-HTTP-Method-Override": "DELETE"}, {"Cookie": "a=\x01"},
]  # fmt: skip


OF_HOSTS = ("os-getConsoleOutput", "changePassword", "/diagnostics")
"""What waits for a broker and a host, which are not here: 503 is its right answer to a good
request, and to no bad one that can be told."""


@dataclass
class Fuzz:
    """Requests to one application, each of whose answers is checked."""

    site: Site
    tenants: Pair
    sent: int = 0

    def values(self, endpoint: Endpoint) -> dict[str, str]:
        """Things that exist, for the endpoint's arguments."""
        return self.tenants[1].values(endpoint)

    def ask(self, method: str, path: str, role: str = "admin", **more: Any) -> TestResponse:
        """One request by a user of that role. Fails on a 5xx or an error of the wrong shape."""
        headers = {"X-Auth-Token": self.tenants[0].tokens[role]} | more.pop("headers", {})
        answer = self.site.client.open(path, method=method, headers=headers, **more)
        self.sent += 1
        about = (
            method,
            path[:300],
            role,
            headers,
            str(more)[:600],
            answer.status,
            answer.text[:600],
        )
        awaited = answer.status_code == 503 and any(one in f"{path} {more}" for one in OF_HOSTS)
        assert answer.status_code < 500 or awaited, about
        if method != "HEAD" and answer.data:
            assert in_shape(answer), about
        return answer


@pytest.fixture
def fuzz(site: Site, tenants: Pair) -> Fuzz:
    """A tester of the site; its administrator belongs to another project than the things."""
    key = {"keypair": {"name": tenants[1].things["name"], "public_key": public_key()}}
    assert site.post("/compute/v2.1/os-keypairs", "alfa-admin", json=key).status_code < 300
    return Fuzz(site, tenants)


def in_shape(answer: TestResponse) -> bool:
    """Whether an error looks as its service's errors do."""
    if answer.status_code < 400:
        return True
    service = answer.request.path.split("/")[1]
    if service == "image":
        if answer.mimetype == "application/json":
            return set(answer.get_json()) == {"message", "code", "title"}
        start = "<h1>" if answer.mimetype == "text/html" else ""
        return answer.text.startswith(f"{start}{answer.status_code} ")
    document = answer.get_json(force=True)
    if service == "network":
        return set(document) == {"NeutronError"}
    if service == "identity":
        return set(document) == {"error"}
    if service == "compute":
        return len(document) == 1 and "code" in next(iter(document.values()))
    return "title" in document


def asks_host(endpoint: Endpoint) -> bool:
    """Whether even a good request is a 503."""
    return any(one in f"{endpoint.path} {endpoint.label}" for one in OF_HOSTS)


LATER = {"evacuate"}
"""Actions that are refused however good their body is."""


def is_later(endpoint: Endpoint) -> bool:
    """Whether even a good body is a 400."""
    return endpoint.label in LATER


def mutations(body: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Bodies with one thing wrong, or odd, and where that is."""
    for at in places(body):
        for value in VALUES:
            yield at, changed(body, at, value)
        here = body
        for step in at:
            here = here[step]
        if isinstance(here, dict):
            yield (*at, "zz_unknown"), changed(body, at, {**here, "zz_unknown": "x"})
            for name in here:
                yield (
                    (*at, name) if len(here) > 1 else at,
                    changed(body, at, {k: v for k, v in here.items() if k != name}),
                )
        if isinstance(here, list):
            yield at, changed(body, at, here * 300)


def named(at: tuple[Any, ...], sent: Any, text: str) -> bool:
    """Whether a refusal names what was wrong there: the field, or what should not be at the top."""
    fields = [step for step in at if isinstance(step, str)]
    if len(fields) > 1:
        return fields[-1] in text or f"{fields[-2]}: has more than" in text
    if not fields and (at or isinstance(sent, list)):
        return f"field {(*at, 0)[0]}" in text or "the body" in text
    top = [*fields, *(sent if isinstance(sent, dict) else ())]
    return "the body" in text or any(name in text for name in top)


def test_a_bad_field_is_refused_by_name_and_never_a_server_error(fuzz: Fuzz) -> None:
    dice, unchecked, wrong = random.Random(1), list[str](), list[tuple[Any, ...]]()
    for endpoint in endpoints(fuzz.site.app):
        if endpoint.schema is None:
            continue
        allowed = Draft202012Validator(endpoint.schema)
        body, version = accepted(fuzz, endpoint)
        unchecked += [] if version or is_later(endpoint) else [str(endpoint)]
        cases = list(mutations(body))
        for at, sent in dice.sample(cases, min(len(cases), 160)):
            answer = send(fuzz, endpoint, sent, version or "latest")
            if version and not allowed.is_valid(sent):
                status, text = answer.status_code, answer.text
                if not 400 <= status < 500 or status == 400 and not named(at, sent, text):
                    wrong.append((str(endpoint), at, str(sent)[:300], status, text[:300]))
    assert wrong == [], "\n".join(str(one) for one in wrong)
    assert unchecked == [], unchecked
    assert fuzz.sent > 3500


def accepted(fuzz: Fuzz, endpoint: Endpoint) -> tuple[Any, str | None]:
    """A body that is good, and the microversion in whose form it is."""
    tried = list(bodies(endpoint, fuzz.tenants[1], fuzz.values(endpoint).get("key", "")))
    versions = ("latest", "2.1") if endpoint.path.startswith("/compute") else ("latest",)
    for body in tried:
        for version in versions:
            if send(fuzz, endpoint, body["json"], version).status_code != 400:
                return body["json"], version
    return tried[0]["json"], None


def send(fuzz: Fuzz, endpoint: Endpoint, body: Any, version: str) -> TestResponse:
    """One request with a JSON body."""
    return fuzz.ask(
        endpoint.method,
        endpoint.at(fuzz.values(endpoint)),
        headers={"OpenStack-API-Version": f"compute {version}"},
        data=orjson.dumps(_small(body)),
        content_type=endpoint.media_type,
    )


def _small(body: Any) -> Any:
    """Numbers that JSON writers of today would not send as such, but clients do."""
    if isinstance(body, int) and abs(body) > 2**63:
        return float(body)
    if isinstance(body, dict):
        return {name: _small(value) for name, value in body.items()}
    return [_small(value) for value in body] if isinstance(body, list) else body


MAY_BE_EMPTY = {"POST /compute/v2.1/os-floating-ips"}
"""As in Nova: whoever names no pool sends nothing."""


def test_bodies_that_are_no_json_of_the_right_type_are_refused(fuzz: Fuzz) -> None:
    for endpoint in endpoints(fuzz.site.app):
        if not endpoint.writes or endpoint.media_type == OCTETS or endpoint.method == "DELETE":
            continue
        path = endpoint.at(fuzz.values(endpoint))
        for number, data in enumerate(BODIES):
            kind = TYPES[number % len(TYPES)] if number % 3 == 2 else endpoint.media_type
            answer = fuzz.ask(endpoint.method, path, data=data, content_type=kind)
            left_out = not data and str(endpoint) in MAY_BE_EMPTY
            if endpoint.schema is not None and not left_out and not is_good(endpoint.schema, data):
                assert answer.status_code >= 400, (str(endpoint), data[:50], kind, answer.text)
    assert fuzz.sent > 700


def is_good(schema: dict[str, Any], data: bytes) -> bool:
    """Whether the bytes are JSON, and as the schema says."""
    try:
        return Draft202012Validator(schema).is_valid(orjson.loads(data))
    except orjson.JSONDecodeError:
        return False


def test_odd_queries_are_answered_or_refused(fuzz: Fuzz) -> None:
    for endpoint in endpoints(fuzz.site.app):
        if endpoint.method != "GET":
            continue
        path = endpoint.at(fuzz.values(endpoint))
        for number, query in enumerate(QUERIES):
            fuzz.ask("GET", path, ("admin", "member")[number % 2], query_string=query)
    assert fuzz.sent > 4500


def test_odd_paths_are_answered_or_refused(fuzz: Fuzz) -> None:
    for endpoint in endpoints(fuzz.site.app):
        for name in endpoint.arguments:
            for number, value in enumerate(JUNK):
                path = endpoint.at(fuzz.values(endpoint) | {name: value})
                body = {} if number % 2 else {"data": b"{}", "content_type": endpoint.media_type}
                answer = fuzz.ask(
                    endpoint.method, path, ("admin", "member")[number % 3 % 2], **body
                )
                assert "Traceback" not in answer.text
    assert fuzz.sent > 1500


def test_odd_headers_and_methods_are_answered_or_refused(fuzz: Fuzz) -> None:
    seen: set[str] = set()
    for endpoint in endpoints(fuzz.site.app):
        path = endpoint.at(fuzz.values(endpoint))
        if endpoint.method in ("GET", "POST") and not asks_host(endpoint):
            for headers in HEADERS:
                fuzz.ask(endpoint.method, path, "member", headers=headers)
        if path not in seen:
            seen.add(path)
            for method in METHODS:
                fuzz.ask(method, path, "reader")
    for path in (
        "/",
        "/x",
        "/compute",
        "/compute/x",
        "/identity//v3",
        "/image/v2/x",
        "/network/v3",
        "/v1",
        "/v1/x",
        "/healthz",
        "/metrics",
        "/swagger.json",
        "//",
        "/compute/v2.1/\xff",
    ):
        for method in METHODS:
            fuzz.ask(method, path)
    assert fuzz.sent > 4000


class Flood:
    """A body that does not end, and counts what was read of it."""

    def __init__(self, size: int) -> None:
        self.left, self.read_bytes = size, 0

    def read(self, size: int = -1) -> bytes:
        taken = min(self.left, size if size >= 0 else self.left)
        self.left -= taken
        self.read_bytes += taken
        return b"[" * taken

    def readline(self, size: int = -1) -> bytes:
        return self.read(size)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("chunked", [False, True])
def test_a_hundred_megabytes_are_refused_unread(fuzz: Fuzz, chunked: bool) -> None:
    for endpoint in endpoints(fuzz.site.app):
        if endpoint.view.streams_body:
            continue
        flood = Flood(100 * MIB)
        given: dict[str, Any] = {"wsgi.input": flood, "CONTENT_LENGTH": str(100 * MIB)}
        if chunked:
            given |= {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
            given["CONTENT_LENGTH"] = ""
        path = endpoint.at(fuzz.values(endpoint))
        kind = {"content_type": endpoint.media_type, "environ_overrides": given}
        answer = fuzz.ask(endpoint.method, path, "member", **kind)
        about = (str(endpoint), answer.status, flood.read_bytes)
        assert flood.read_bytes < MIB, about
        if endpoint.schema is not None or not chunked:
            assert answer.status_code in (403, 404, 413), about


def test_a_hundred_megabytes_of_an_image_go_through_little_memory(fuzz: Fuzz) -> None:
    body = {"name": "large", "disk_format": "raw", "container_format": "bare"}
    token = {"X-Auth-Token": fuzz.tenants[0].tokens["member"]}
    made = fuzz.site.client.post("/image/v2/images", json=body, headers=token)
    flood = Flood(100 * MIB)
    given = {"wsgi.input": flood, "CONTENT_LENGTH": "", "wsgi.input_terminated": True}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = f"/image/v2/images/{made.json['id']}/file"
    answer = fuzz.ask("PUT", path, "member", content_type=OCTETS, environ_overrides=given)
    assert answer.status_code == 204, answer.text
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 40_000, f"{grown} KiB"


def test_deletes_of_everything_are_no_server_errors(fuzz: Fuzz) -> None:
    for endpoint in endpoints(fuzz.site.app):
        if endpoint.method == "DELETE":
            for _ in range(2):
                fuzz.ask("DELETE", endpoint.at(fuzz.values(endpoint)), data=b"\xff{")
    assert fuzz.sent > 20
