"""Changes of an image, in both of Glance's JSON-patch dialects."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.errors import Conflict, Forbidden, Invalid
from app.web.image import schemas

MEDIA_TYPE = "application/openstack-images-v2.1-json-patch"
OLD_MEDIA_TYPE = "application/openstack-images-v2.0-json-patch"
_UNSET = object()
Document = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One operation: add, replace or remove at `path`, whose steps are unescaped."""

    op: str
    path: tuple[str, ...]
    value: Any = _UNSET


def parse(media_type: str, document: Any) -> list[Change]:
    """The operations of a patch. Raises Invalid, naming the operation by its place."""
    if media_type == OLD_MEDIA_TYPE:
        document = [_modern(one, at) for at, one in enumerate(schemas.OLD_PATCH.check(document))]
    changes = []
    for at, one in enumerate(schemas.PATCH.check(document)):
        change = Change(one["op"], _steps(one["path"], at), one.get("value", _UNSET))
        if change.op != "remove" and change.value is _UNSET:
            raise Invalid(f"Invalid input for field {at}: missing: value")
        changes.append(change)
    return changes


def _modern(one: Document, at: int) -> Document:
    """`{"add": "/name", "value": …}` in the words of the newer dialect."""
    ops = [name for name in ("add", "replace", "remove") if name in one]
    if len(ops) != 1:
        raise Invalid(f"Invalid input for field {at}: must have one of add, replace, remove")
    rest = {"value": one["value"]} if "value" in one else {}
    return {"op": ops[0], "path": one[ops[0]], **rest}


def _steps(pointer: str, at: int) -> tuple[str, ...]:
    """A JSON pointer's steps: one, or two for one of the tags."""
    if re.search("~(?![01])", pointer):
        raise Invalid(f"Invalid input for field {at}.path: '~' must be written '~0', '/' '~1'")
    steps = tuple(one.replace("~1", "/").replace("~0", "~") for one in pointer[1:].split("/"))
    if not all(steps) or len(steps) > (2 if steps[0] == "tags" else 1):
        raise Invalid(f"Invalid input for field {at}.path: must be / and the name of an attribute")
    return steps


def apply(document: Document, changes: list[Change]) -> None:
    """Change `document`, an image's writable attributes with the custom ones among them.

    Raises Forbidden for an attribute that is not the client's to set or remove, Conflict when
    what is to be replaced or removed is not there. Values are not checked here.
    """
    for change in changes:
        schemas.check_writable(change.path[0])
        (_apply_to_tags if len(change.path) == 2 else _APPLY[change.op])(document, change)


def _add(document: Document, change: Change) -> None:
    document[change.path[0]] = change.value


def _replace(document: Document, change: Change) -> None:
    _must_exist(document, change.path[0])
    document[change.path[0]] = change.value


def _remove(document: Document, change: Change) -> None:
    if change.path[0] in schemas.OURS:
        raise Forbidden(f"Attribute '{change.path[0]}' cannot be removed.")
    _must_exist(document, change.path[0])
    del document[change.path[0]]


def _must_exist(document: Document, name: str) -> None:
    if name not in document:
        raise Conflict(f"Property {name} does not exist.")


_APPLY: dict[str, Callable[[Document, Change], None]] = {
    "add": _add,
    "replace": _replace,
    "remove": _remove,
}


def _apply_to_tags(document: Document, change: Change) -> None:
    tags = document["tags"]
    if not isinstance(tags, list):
        raise Invalid("Invalid input for field tags: must be of type array")
    tags = document["tags"] = list(tags)
    if change.op == "add":
        tags.insert(_index(change.path[1], len(tags) + 1, len(tags)), change.value)
        return
    at = _index(change.path[1], len(tags))
    if change.op == "remove":
        del tags[at]
    else:
        tags[at] = change.value


def _index(step: str, size: int, end: int | None = None) -> int:
    if step == "-" and end is not None:
        return end
    if not re.fullmatch("[0-9]{1,4}", step) or int(step) >= size:
        raise Conflict(f"There is no tag number {step[:20]}.")
    return int(step)
