"""Reading and checking bodies: JSON Schema, compiled once, with messages that name the limit."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson
from flask import request
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError, best_match

from app.errors import Invalid, TooLarge
from app.web import context

Json = dict[str, Any]

BOOLEAN: Json = {
    "enum": [
        True,
        "True",
        "TRUE",
        "true",
        "1",
        "ON",
        "On",
        "on",
        "YES",
        "Yes",
        "yes",
        False,
        "False",
        "FALSE",
        "false",
        "0",
        "OFF",
        "Off",
        "off",
        "NO",
        "No",
        "no",
    ]
}
UUID: Json = {
    "type": "string",
    "maxLength": 36,
    "pattern": "^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$",
}
_NOT_BLANK = r"\S"
NAME: Json = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _NOT_BLANK}
METADATA: Json = {
    "type": "object",
    "propertyNames": {"minLength": 1, "maxLength": 255},
    "additionalProperties": {"type": "string", "maxLength": 255},
}


def integer(low: int, high: int = 2**31 - 1) -> Json:
    """A whole number, or the same in digits, as Nova allows."""
    limits: Json = {"x-low": low, "x-high": high}
    return {
        "anyOf": [
            {"type": "integer", "minimum": low, "maximum": high, **limits},
            {"type": "string", "maxLength": 10, "pattern": "^[0-9]{1,10}$", **limits},
        ],
        **limits,
    }


def only(required: Mapping[str, Json], optional: Mapping[str, Json] | None = None) -> Json:
    """An object with these properties and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _pattern(validator: Any, pattern: str, instance: Any, schema: Json) -> Iterator[Any]:
    """As in JSON Schema, but not for texts that are too long anyway: matching takes its time."""
    if not isinstance(instance, str) or len(instance) > schema.get("maxLength", len(instance)):
        return
    if len(instance) > _LONGEST:
        yield ValidationError("is longer than anything here")
        return
    ends_early = pattern.endswith("$") and instance.endswith("\n")  # Python's $ lets it pass
    if ends_early or not re.search(pattern, instance):
        yield ValidationError("is not in the allowed form")


def _unique(validator: Any, wanted: bool, instance: Any, schema: Json) -> Iterator[Any]:
    """As in JSON Schema, in one pass over a list that is not too long anyway."""
    if not wanted or not isinstance(instance, list):
        return
    if len(instance) > schema.get("maxItems", len(instance)):
        return
    if len({orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in instance}) < len(instance):
        yield ValidationError("has an item twice")


_LONGEST = 65535
_Validator = validators.extend(Draft202012Validator, {"pattern": _pattern, "uniqueItems": _unique})


class Schema:
    """A compiled schema. `name` is what the documentation calls it."""

    def __init__(self, name: str, schema: Json) -> None:
        self.name = name
        self.schema = schema

    @functools.cached_property
    def _validator(self) -> Any:
        """At first use: looking through all schemas takes a start longer than all else there."""
        Draft202012Validator.check_schema(self.schema)
        return _Validator(self.schema)

    def check(self, data: Any) -> Any:
        """`data` itself. Raises Invalid with the field, what is wrong with it, and the limit."""
        error = best_match(self._validator.iter_errors(data))
        if error is not None:
            raise Invalid(explain(error))
        return data


def body(schema: Schema) -> Any:
    """The request's JSON body, checked."""
    return schema.check(parsed())


def parsed(media_types: tuple[str, ...] = ("application/json",)) -> Any:
    """The request's body, decoded from JSON."""
    if request.mimetype and request.mimetype not in media_types:
        raise Invalid(
            f"Unsupported Content-Type {request.mimetype[:64]}: send {media_types[0]}",
            code="unsupported_media_type",
        )
    data = raw()
    try:
        decoded = orjson.loads(data)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise Invalid("The body is not JSON.") from error
    if b"\\u0000" in data:
        raise Invalid("The body contains a NUL character.")
    return decoded


def raw() -> bytes:
    """The request's body. Raises TooLarge when it is over the limit, also when it is chunked."""
    data, limit = request.get_data(), context.settings().body_limit
    if len(data) > limit:
        raise TooLarge(f"The request's body is larger than {limit} bytes.")
    return data


def is_true(value: Any) -> bool:
    """A BOOLEAN as a bool."""
    return str(value).lower() in ("true", "1", "on", "yes", "t", "y")


def explain(error: ValidationError) -> str:
    """One sentence: the field, the problem, the limit. Never the value: it may be a secret."""
    field = ".".join(str(step) for step in error.absolute_path)[:200] or "the body"
    return f"Invalid input for field {field}: {_problem(error)}"


def _problem(error: ValidationError) -> str:
    rule, limit = str(error.validator), cast(Any, error.validator_value)
    schema = cast(Json, error.schema)
    if rule == "additionalProperties" and isinstance(error.instance, dict):
        known = schema.get("properties", {})
        extra = sorted(str(name)[:64] for name in error.instance if name not in known)
        return f"unknown: {', '.join(extra[:5])}; known: {', '.join(sorted(known))}"
    if rule == "required":
        missing = [name for name in limit if name not in cast(Json, error.instance)]
        return f"missing: {', '.join(missing)}"
    if rule == "type":
        return f"must be of type {limit if isinstance(limit, str) else ' or '.join(limit)}"
    if rule == "enum":
        return f"must be one of {', '.join(str(item) for item in limit)}"
    if rule == "pattern" and limit == _NOT_BLANK:
        return "must not be blank"
    if "x-low" in schema:
        return f"must be a whole number from {schema['x-low']} to {schema['x-high']}"
    return _LIMITS.get(rule, "is not in one of the allowed forms").format(limit=limit)


_LIMITS = {
    "minLength": "is shorter than {limit} characters",
    "maxLength": "is longer than {limit} characters",
    "minimum": "is less than {limit}",
    "maximum": "is more than {limit}",
    "minItems": "has fewer than {limit} items",
    "maxItems": "has more than {limit} items",
    "minProperties": "has fewer than {limit} properties",
    "maxProperties": "has more than {limit} properties",
    "pattern": "does not match {limit}",
    "format": "is not of the format {limit}",
    "uniqueItems": "has the same item twice",
    "const": "must be {limit}",
}
