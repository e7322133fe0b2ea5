"""Schemas of images, for clients that ask before they send."""

from __future__ import annotations

from typing import Any

from flask import Response

from app.web.answers import answer
from app.web.api import Route
from app.web.image import schemas
from app.web.image.versions import ns
from app.web.shapes import images as shapes

_TEXT = {"type": ["null", "string"], "readOnly": True}
_NUMBER = {"type": ["null", "integer"], "readOnly": True}
_NUMBERS = ("size", "virtual_size")


def _image() -> dict[str, Any]:
    shown = schemas.READ_ONLY - {"deleted", "deleted_at", "direct_url", "location", "locations"}
    fixed = {name: _NUMBER if name in _NUMBERS else _TEXT for name in sorted(shown)}
    return {
        "name": "image",
        "properties": {**fixed, **schemas.IMAGE.schema["properties"]},
        "additionalProperties": schemas.IMAGE.schema["additionalProperties"],
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def _images() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "name": "images",
        "properties": {
            "images": {"type": "array", "items": _image()},
            "first": text,
            "next": text,
            "schema": text,
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def _member() -> dict[str, Any]:
    names = ("created_at", "image_id", "member_id", "schema", "updated_at")
    status = schemas.MEMBER_STATUS.schema["properties"]["status"]
    return {
        "name": "member",
        "properties": {**dict.fromkeys(names, _TEXT), "status": status},
    }


@ns.route("/v2/schemas/member")
class MemberSchema(Route):
    shows = {"get": shapes.MEMBER_SCHEMA}
    policy = {"get": "get_schemas"}

    def get(self) -> Response:
        """Show what is told of a project that an image is shared with."""
        return answer(_member())


@ns.route("/v2/schemas/members")
class MembersSchema(Route):
    shows = {"get": shapes.MEMBERS_SCHEMA}
    policy = {"get": "get_schemas"}

    def get(self) -> Response:
        """Show what a list of such projects holds."""
        listed = {"type": "array", "items": _member()}
        properties = {"members": listed, "schema": {"type": "string"}}
        links = [{"rel": "describedby", "href": "{schema}"}]
        return answer({"name": "members", "properties": properties, "links": links})


@ns.route("/v2/schemas/image")
class ImageSchema(Route):
    shows = {"get": shapes.IMAGE_SCHEMA}
    policy = {"get": "get_schemas"}

    def get(self) -> Response:
        """Show what an image's record may hold."""
        return answer(_image())


@ns.route("/v2/schemas/images")
class ImagesSchema(Route):
    shows = {"get": shapes.IMAGES_SCHEMA}
    policy = {"get": "get_schemas"}

    def get(self) -> Response:
        """Show what a list of images holds."""
        return answer(_images())
