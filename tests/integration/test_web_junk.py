"""Whatever a client sends, the answer is below 500 and in its service's own shape."""

from __future__ import annotations

import random
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]

JUNK_IDS = ["x", "..", "%00", "%ff%fe", "a" * 3000, "' OR 1=1 --", "ü", "0", "-1", "None"]
JUNK_VALUES: list[Any] = [
    None, True, -1, 0, 2**40, 2**70, 1e308, "", "x", "x" * 300, "\x7f", "ü" * 200, [], {}, [[]],
    {"a": 1}, [None], {"": ""}, {"name": "x"}, "11111111-1111-1111-1111-111111111111",
]  # fmt: skip
JUNK_HEADERS = [
    {},
    {"Content-Type": "text/html"},
    {"Content-Length": "x"},
    {"Range": "bytes=9-1"},
    {"If-None-Match": '"'},
    {"Idempotency-Key": "ü"},
    {"Last-Event-ID": "x" * 500},
    {"OpenStack-API-Version": "compute latest"},
    {"Authorization": "Bearer"},
    {"X-Subject-Token": "x"},
    {"Host": "a b"},
]
NAMES = {
    "server", "name", "imageRef", "flavorRef", "networks", "metadata", "user_data", "min_count",
    "keypair", "public_key", "auth", "identity", "methods", "password", "scope", "reboot", "type",
    "os-stop", "os-getConsoleOutput", "length", "disk_format", "tags", "visibility", "id",
    "availability_zone", "config_drive", "block_device_mapping_v2", "user", "domain", "token",
}  # fmt: skip
QUERIES = (
    "limit", "marker", "sort_key", "sort_dir", "sort", "name", "status", "changes-since", "ip",
    "wait", "since", "state", "minRam", "is_public", "tag", "size_min", "fields", "visibility",
    "all_tenants", "uuid", "id", "shared", "deleted", "host", "user_id", "tenant_id",
)  # fmt: skip


def body(dice: random.Random, depth: int = 0) -> Any:
    """Something with our words in the wrong places."""
    if depth > 3 or dice.random() < 0.3:
        return dice.choice(JUNK_VALUES)
    names = sorted(dice.sample(sorted(NAMES), dice.randint(1, 4)))
    return {name: body(dice, depth + 1) for name in names}


def in_shape(answer: TestResponse) -> bool:
    """Whether an error looks as its service's errors do."""
    if answer.status_code < 400:
        return True
    service = answer.request.path.split("/")[1]
    if service == "image":
        return answer.text.startswith(f"{answer.status_code} ")
    document = answer.get_json(force=True)
    if service == "network":
        return set(document) == {"NeutronError"}
    if service == "identity":
        return set(document) == {"error"}
    if service == "compute":
        return len(document) == 1 and "code" in next(iter(document.values()))
    return "title" in document


@pytest.mark.parametrize("seed", range(8))
def test_junk_is_never_a_server_error(site: Site, seed: int) -> None:
    dice = random.Random(seed)
    rules = [rule for rule in site.app.url_map.iter_rules() if "swaggerui" not in rule.rule]
    for _ in range(250):
        rule = dice.choice(rules)
        path = rule.rule
        for argument in sorted(rule.arguments):
            path = path.replace(f"<{argument}>", dice.choice(JUNK_IDS))
        query = {name: str(dice.choice(JUNK_VALUES))[:300] for name in dice.sample(QUERIES, 2)}
        query.pop("wait", None)
        method = dice.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"])
        given: dict[str, Any] = {"json": body(dice)} if dice.random() < 0.8 else {"data": b"\xff{"}
        answer = site.call(
            method,
            path,
            dice.choice(["novella", "admin", None]),
            query_string=query,
            headers=dice.choice(JUNK_HEADERS),
            **given,
        )
        assert answer.status_code < 500, (method, path, query, given, answer.text)
        if method != "HEAD" and answer.data:
            assert in_shape(answer), (method, path, answer.status_code, answer.text)
