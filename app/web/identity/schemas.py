"""Bodies of Identity requests."""

from __future__ import annotations

from app.web.body import Json, Schema, only

_TEXT: Json = {"type": "string", "maxLength": 255}
_SECRET: Json = {"type": "string", "maxLength": 4096}
_DOMAIN: Json = {
    "type": "object",
    "properties": {"id": _TEXT, "name": _TEXT},
    "additionalProperties": False,
    "minProperties": 1,
}
_USER: Json = {
    "type": "object",
    "properties": {"id": _TEXT, "name": _TEXT, "domain": _DOMAIN, "password": _SECRET},
    "required": ["password"],
    "additionalProperties": False,
}
_PROJECT: Json = {
    "type": "object",
    "properties": {"id": _TEXT, "name": _TEXT, "domain": _DOMAIN},
    "additionalProperties": False,
    "minProperties": 1,
}

AUTH = Schema(
    "Auth",
    only(
        {
            "auth": only(
                {
                    "identity": {
                        "type": "object",
                        "properties": {
                            "methods": {
                                "type": "array",
                                "items": {"type": "string", "maxLength": 64},
                                "minItems": 1,
                                "maxItems": 4,
                            },
                            "password": only({"user": _USER}),
                            "token": only({"id": _SECRET}),
                        },
                        "required": ["methods"],
                    }
                },
                {
                    "scope": {
                        "anyOf": [
                            {"const": "unscoped"},
                            {
                                "type": "object",
                                "properties": {
                                    "project": _PROJECT,
                                    "domain": _DOMAIN,
                                    "system": {"type": "object"},
                                },
                                "additionalProperties": False,
                                "minProperties": 1,
                                "maxProperties": 1,
                            },
                        ]
                    }
                },
            )
        }
    ),
)
