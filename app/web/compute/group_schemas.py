"""Bodies of the requests about aggregates and server groups."""

from __future__ import annotations

from app.domain.request_spec import AFFINITY, ANTI_AFFINITY, SOFT_AFFINITY, SOFT_ANTI_AFFINITY
from app.web.body import UUID, Json, Schema, integer, only
from app.web.compute.resource_schemas import LINE

Version = tuple[int, int]
_NULL: Json = {"type": "null"}

# Aggregates

_ZONE: Json = {"anyOf": [LINE, _NULL]}
NEW_AGGREGATE = Schema(
    "NewAggregate", only({"aggregate": only({"name": LINE}, {"availability_zone": _ZONE})})
)
AGGREGATE_CHANGE = Schema(
    "AggregateChange",
    only(
        {
            "aggregate": {
                **only({}, {"name": LINE, "availability_zone": _ZONE}),
                "minProperties": 1,
            }
        }
    ),
)
_HOST: Json = only({"host": {"type": "string", "minLength": 1, "maxLength": 255}})
_METADATA: Json = {
    "type": "object",
    "propertyNames": {"pattern": r"^[a-zA-Z0-9\-_:. ]{1,255}\Z"},
    "additionalProperties": {"anyOf": [{"type": "string", "maxLength": 255}, _NULL]},
}
AGGREGATE_ACTION = Schema(
    "AggregateAction",
    {
        **only(
            {},
            {
                "add_host": _HOST,
                "remove_host": _HOST,
                "set_metadata": only({"metadata": _METADATA}),
            },
        ),
        "minProperties": 1,
        "maxProperties": 1,
    },
)
AGGREGATE_IMAGES = Schema(
    "AggregateImages",
    only(
        {
            "cache": {
                "type": "array",
                "items": only({"id": UUID}),
                "minItems": 1,
                "maxItems": 100,
                "uniqueItems": True,
            }
        }
    ),
)

# Server groups

_STRICT = [ANTI_AFFINITY, AFFINITY]
_SOFT = [SOFT_ANTI_AFFINITY, SOFT_AFFINITY]


def _with_policies(known: list[str]) -> Json:
    policies = {"type": "array", "items": {"enum": known}, "minItems": 1, "maxItems": 1}
    return only({"server_group": only({"name": LINE, "policies": policies})})


SERVER_GROUPS = (
    Schema("NewServerGroup", _with_policies(_STRICT)),
    Schema("NewServerGroup2.15", _with_policies([*_STRICT, *_SOFT])),
    Schema(
        "NewServerGroup2.64",
        only(
            {
                "server_group": only(
                    {"name": LINE, "policy": {"enum": [*_STRICT, *_SOFT]}},
                    {"rules": only({}, {"max_server_per_host": integer(1)})},
                )
            }
        ),
    ),
)


def server_group(version: Version) -> Schema:
    """The body of a group's creation at this microversion."""
    return SERVER_GROUPS[(version >= (2, 15)) + (version >= (2, 64))]
