"""Shapes of answers: one declaration, the right schema at each microversion."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from app.web.microversions import MAX, Version
from app.web.shapes.parts import (
    TEXT,
    WHOLE,
    Changed,
    Record,
    Sight,
    either,
    gone,
    many,
    new,
    sometimes,
    under,
)

THING = Record(
    {
        "id": Changed((2, 53), WHOLE, TEXT),
        "name": new((2, 10), TEXT),
        "old": gone((2, 20), TEXT),
        "more": sometimes(new((2, 30), many(TEXT))),
    },
    "Thing",
)


@pytest.mark.parametrize(
    ("version", "good"),
    [
        ((2, 1), {"id": 1, "old": "x"}),
        ((2, 10), {"id": 1, "old": "x", "name": "n"}),
        ((2, 20), {"id": 1, "name": "n"}),
        ((2, 30), {"id": 1, "name": "n", "more": []}),
        ((2, 53), {"id": "1", "name": "n"}),
    ],
)
def test_a_record_has_what_its_version_has_and_nothing_else(
    version: Version, good: dict[str, Any]
) -> None:
    check = Draft202012Validator(Sight(version).of(THING)).is_valid
    assert check(good)
    assert not check(good | {"another": "x"})
    for name in set(good) - {"more"}:
        assert not check({key: value for key, value in good.items() if key != name}), name
    assert not check(good | {"id": "1" if version < (2, 53) else 1})


def test_parts_are_seen_wherever_they_stand() -> None:
    shape = either(under("thing", THING), under("things", many(THING)))
    check = Draft202012Validator(Sight(MAX).of(shape)).is_valid
    assert check({"thing": {"id": "1", "name": "n"}})
    assert check({"things": [{"id": "1", "name": "n"}]})
    assert not check({"things": [{"id": 1, "name": "n"}]})


def test_other_packages_fields_are_in_extended_records_only_and_may_be_null() -> None:
    sight = Sight(MAX, {"own:colour": {"enum": ["red"]}})
    plain, extended = Record({"id": TEXT}), Record({"id": TEXT}, extended=True)
    assert not Draft202012Validator(sight.of(plain)).is_valid({"id": "1", "own:colour": "red"})
    check = Draft202012Validator(sight.of(extended)).is_valid
    assert check({"id": "1", "own:colour": "red"})
    assert check({"id": "1", "own:colour": None})
    assert check({"id": "1"})
    assert not check({"id": "1", "own:colour": "blue"})


def test_records_with_names_are_told_once_and_referred_to() -> None:
    kept: dict[str, Any] = {}

    def keep(name: str, schema: dict[str, Any]) -> dict[str, Any]:
        assert kept.setdefault(name, schema) == schema
        return {"$ref": name}

    told = Sight(MAX, keep=keep).of(under("things", many(THING)))
    assert told["properties"]["things"]["items"] == {"$ref": "Thing"}
    assert set(kept["Thing"]["properties"]) == {"id", "name", "more"}
