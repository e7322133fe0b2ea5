"""Extensions of the Network API: those that hold here, and no others."""

from __future__ import annotations

from flask import Response

from app.errors import NotFound
from app.web.answers import answer
from app.web.api import Route
from app.web.network.versions import ns

_UPDATED = "2026-01-01T00:00:00-00:00"
_EXTENSIONS = {
    "availability_zone": ("Availability Zone", "The zones that networks are in."),
    "net-mtu": ("Network MTU", "Networks show the MTU of their links."),
    "pagination": ("Pagination support", "Lists come in pages, with limit and marker."),
    "project-id": ("Project ID", "project_id stands beside tenant_id."),
    "quotas": ("Quota management support", "Quotas can be read."),
    "quota_details": ("Quota details", "Quotas can be read with what is in use."),
    "sorting": ("Sorting support", "Lists are ordered by sort_key and sort_dir."),
    "standard-attr-timestamp": ("Resource timestamps", "created_at and updated_at."),
}


def _shown(alias: str) -> dict[str, object]:
    name, description = _EXTENSIONS[alias]
    return {
        "alias": alias,
        "name": name,
        "description": description,
        "updated": _UPDATED,
        "links": [],
    }


@ns.route("/v2.0/extensions")
class Extensions(Route):
    policy = {"get": "get_extension"}

    def get(self) -> Response:
        """List the API extensions that hold here."""
        return answer({"extensions": [_shown(alias) for alias in _EXTENSIONS]})


@ns.route("/v2.0/extensions/<alias>")
class OneExtension(Route):
    policy = {"get": "get_extension"}

    def get(self, alias: str) -> Response:
        """Show an API extension."""
        if alias not in _EXTENSIONS:
            raise NotFound(f"Extension with alias {alias} does not exist")
        return answer({"extension": _shown(alias)})
