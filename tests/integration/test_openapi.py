"""The OpenAPI document: whole, valid, and made of the schemas that check requests."""

from __future__ import annotations

import re
from typing import Any

from jsonschema import Draft202012Validator

from app.web.compute.actions import ACTIONS
from tests.integration.web_fixtures import Site, seeded_database, site
from tests.routes import endpoints

__all__ = ["seeded_database", "site"]
V = "/compute/v2.1"
ACTION = "/compute/v2.1/servers/{server_id}/action"


def document(site: Site) -> dict[str, Any]:
    answer = site.get("/openapi.json", None)
    assert answer.status_code == 200
    assert answer.json["openapi"] == "3.1.0"
    return answer.json  # type: ignore[no-any-return]


def test_every_route_is_an_operation_with_its_parameters_and_statuses(site: Site) -> None:
    paths = document(site)["paths"]
    for endpoint in endpoints(site.app):
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", endpoint.path)
        operation = paths[path][endpoint.method.lower()]
        given = {one["name"] for one in operation["parameters"] if one.get("in") == "path"}
        assert given == set(endpoint.arguments), str(endpoint)
        assert operation["summary"], str(endpoint)
        assert "400" in operation["responses"], str(endpoint)
        assert (operation.get("security") == []) == endpoint.is_public, str(endpoint)
        assert ("requestBody" in operation) >= (endpoint.schema is not None), str(endpoint)
    assert {"/healthz", "/readyz", "/metrics", "/openapi.json"} <= set(paths)


def test_each_compute_operation_is_told_of_and_answered_in_the_microversions_that_have_it(
    site: Site,
) -> None:
    told = document(site)["paths"]
    beyond = {}
    for endpoint in endpoints(site.app):
        if not endpoint.path.startswith("/compute/v2.1/"):
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", endpoint.path)
        operation = told[path][endpoint.method.lower()]
        first, last = ([int(n) for n in operation[x].split(".")] for x in ("x-since", "x-until"))
        outside = [[2, first[1] - 1]] * (first > [2, 1]) + [[2, last[1] + 1]] * (last < [2, 104])
        assert ("description" in operation) == bool(outside), str(endpoint)
        for one in outside:
            beyond[endpoint.method, re.sub(r"<(?:\w+:)?\w+>", "1", endpoint.path)] = one
    assert {path for _, path in beyond} >= {f"{V}/os-aggregates/1/images", f"{V}/servers/1/tags"}
    for (method, path), (_, minor) in beyond.items():
        answer = site.call(method, path, "admin", json={}, version=f"2.{minor}")
        assert answer.status_code == 404, (method, path)
        gone = "The resource could not be found."
        assert answer.json["itemNotFound"]["message"] == gone, (method, path)


def test_every_server_action_has_a_branch_of_its_own_with_its_schema(site: Site) -> None:
    told = document(site)
    content = told["paths"][ACTION]["post"]["requestBody"]["content"]["application/json"]
    branches = [one["$ref"].rsplit("/", 1)[1] for one in content["schema"]["oneOf"]]
    assert branches == [f"action.{name}" for name in sorted(ACTIONS)]
    for name in ACTIONS:
        assert list(told["components"]["schemas"][f"action.{name}"]["properties"]) == [name]


def test_successful_answers_are_told_in_the_form_of_the_routes_last_version(site: Site) -> None:
    told = document(site)
    schemas = told["components"]["schemas"]

    def shown(path: str, method: str = "get", status: str = "200") -> Any:
        answer = told["paths"][f"{V}{path}"][method]["responses"][status]
        return answer["content"]["application/json"]["schema"] if "content" in answer else None

    servers = shown("/servers/detail")["properties"]["servers"]["items"]["$ref"]
    assert servers == "#/components/schemas/answer.ServerInList"
    server = schemas["answer.Server"]
    assert {"id", "scheduler_hints", "server_groups"} <= set(server["required"])
    assert "fault" in server["properties"], "it may lack"
    assert "OS-FLV-DISABLED:disabled" not in schemas["answer.Flavor"]["properties"]
    assert (
        "vcpus_used"
        in shown("/os-hypervisors/statistics")["properties"]["hypervisor_statistics"]["properties"]
    ), "of 2.87, its last"
    assert shown("/os-aggregates/{aggregate_id}/images", "post", "202") is None


def test_every_schema_is_one_and_every_reference_leads_somewhere(site: Site) -> None:
    told = document(site)
    for schema in told["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for reference in references(told):
        here = told
        for step in reference.removeprefix("#/").split("/"):
            here = here[step]
    names = [one["operationId"] for item in told["paths"].values() for one in item.values()]
    assert len(set(names)) == len(names)


def references(part: Any) -> list[str]:
    if isinstance(part, list):
        return [one for item in part for one in references(item)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
    return own + [one for item in part.values() for one in references(item)]


def test_the_document_is_read_again_only_when_it_has_changed(site: Site) -> None:
    first = site.get("/openapi.json", None)
    again = site.get("/openapi.json", None, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
