"""The parts that shapes are made of, and the JSON Schema that they are at one microversion.

A shape is a JSON Schema in which records, and fields with a range of microversions, may stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app.web.body import only
from app.web.microversions import MAX, MIN, Version

Json = dict[str, Any]
Part = Any
"""A JSON Schema with such parts in it."""
Kept = Callable[[str, Json], Json]
"""Keeps a record's schema under a name, and answers what refers to it."""

TEXT: Json = {"type": "string"}
WHOLE: Json = {"type": "integer"}
NUMBER: Json = {"type": "number"}
TRUTH: Json = {"type": "boolean"}
NULL: Json = {"type": "null"}
ANY: Json = {}
EMPTY: Json = {"type": "array", "maxItems": 0}
NOTHING = None
"""An answer without a body."""


@dataclass(frozen=True)
class Field:
    """A property that is there from the version `first` to `last`; `always`, unless it may lack."""

    part: Part
    first: Version = MIN
    last: Version = MAX
    always: bool = True


@dataclass(frozen=True)
class Changed:
    """One shape before the version `since`, another from it on."""

    since: Version
    before: Part
    after: Part


@dataclass(frozen=True)
class Record:
    """An object with these fields and no others, but for those that match `rest`, if it is given.

    `name`: what the document calls it. `extended`: other packages' fields may be among them.
    """

    fields: Mapping[str, Part]
    name: str = ""
    rest: Part = False
    extended: bool = False

    def __or__(self, more: Mapping[str, Part]) -> Record:
        """The same with more fields, and without a name."""
        return replace(self, fields={**self.fields, **more}, name="")


@dataclass(frozen=True)
class Sight:
    """How a shape is looked at: the microversion, and other packages' fields by name."""

    version: Version = MAX
    added: Mapping[str, Json] = field(default_factory=dict)
    keep: Kept | None = None

    def of(self, part: Part) -> Any:
        """The JSON Schema that `part` is."""
        if isinstance(part, Record):
            return self._record(part)
        if isinstance(part, Changed):
            return self.of(part.after if self.version >= part.since else part.before)
        if isinstance(part, Mapping):
            return {name: self.of(value) for name, value in part.items()}
        return [self.of(one) for one in part] if isinstance(part, list) else part

    def _record(self, record: Record) -> Json:
        required: Json = {}
        optional: Json = {}
        for name, part in record.fields.items():
            one = part if isinstance(part, Field) else Field(part)
            if one.first <= self.version <= one.last:
                (required if one.always else optional)[name] = self.of(one.part)
        if record.extended:
            optional |= {name: maybe(schema) for name, schema in self.added.items()}
        made = only(required, optional) | {"additionalProperties": self.of(record.rest)}
        return self.keep(record.name, made) if self.keep and record.name else made


def new(since: Version, part: Part) -> Field:
    """A field that `since` brought."""
    return replace(_field(part), first=since)


def gone(since: Version, part: Part) -> Field:
    """A field that is not there any more from `since` on."""
    return replace(_field(part), last=(since[0], since[1] - 1))


def sometimes(part: Part) -> Field:
    """A field that may lack."""
    return replace(_field(part), always=False)


def _field(part: Part) -> Field:
    return part if isinstance(part, Field) else Field(part)


def maybe(part: Part) -> Json:
    """That, or null."""
    return {"anyOf": [part, NULL]}


def many(part: Part) -> Json:
    """A list of that."""
    return {"type": "array", "items": part}


def named(part: Part) -> Json:
    """An object with any names, each with that."""
    return {"type": "object", "additionalProperties": part}


def one_of(part: Part) -> Json:
    """An object with one name, and that under it."""
    return {**named(part), "minProperties": 1, "maxProperties": 1}


def either(*parts: Part) -> Json:
    """One of these."""
    return {"anyOf": list(parts)}


def until(ended: Mapping[str, Version], names: Iterable[str], part: Part) -> dict[str, Field]:
    """The same under many names, some of which are not there any more from a version on."""
    return {name: gone(ended[name], part) if name in ended else Field(part) for name in names}


def under(name: str, part: Part, **more: Part) -> Record:
    """An object with that under one name, and with `more`."""
    return Record({name: part, **more})


LINKS = many(Record({"rel": TEXT, "href": TEXT}))


def page(kind: str, part: Part, links: Part = LINKS) -> Record:
    """A list under its name, with a link to its next page if there is one."""
    return Record({kind: many(part), f"{kind}_links": sometimes(links)})
