"""Bodies of Identity requests."""

from __future__ import annotations

from app.web.body import NAME, Json, Schema, only

_TEXT: Json = {"type": "string", "maxLength": 255}
_SECRET: Json = {"type": "string", "maxLength": 4096}
_NEW_SECRET: Json = {"type": "string", "minLength": 1, "maxLength": 4096}
_DESCRIPTION: Json = {"type": ["string", "null"], "maxLength": 4096}
_ID: Json = {"type": ["string", "null"], "maxLength": 64}
_BOOLEAN: Json = {"type": "boolean"}
# What stock clients may send of what there is not: options that are off, no tags, no access rules.
_NO_OPTIONS: Json = {"type": "object", "additionalProperties": {"enum": [False, None]}}
_NOTHING: Json = {"type": "array", "maxItems": 0}

_DOMAIN: Json = {
    "type": "object",
    "properties": {"id": _TEXT, "name": _TEXT},
    "additionalProperties": False,
    "minProperties": 1,
}
_WHOSE: Json = {"id": _TEXT, "name": _TEXT, "domain": _DOMAIN}
_USER = only({"password": _SECRET}, _WHOSE)
_PROJECT: Json = {**only({}, _WHOSE), "minProperties": 1}
_CREDENTIAL = only({"secret": _SECRET}, {"id": _TEXT, "name": _TEXT, "user": only({}, _WHOSE)})
_SCOPE: Json = {
    "type": ["object", "string"],
    "pattern": "^unscoped$",
    "properties": {
        "project": _PROJECT,
        "domain": _DOMAIN,
        "system": only({"all": {"const": True}}),
    },
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}
_IDENTITY: Json = {
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
        "application_credential": _CREDENTIAL,
    },
    "required": ["methods"],
}
AUTH = Schema("Auth", only({"auth": only({"identity": _IDENTITY}, {"scope": _SCOPE})}))

_PROJECT_FIELDS: Json = {
    "description": _DESCRIPTION,
    "enabled": _BOOLEAN,
    "domain_id": _ID,
    "parent_id": _ID,
    "is_domain": {"enum": [False, None]},
    "options": _NO_OPTIONS,
    "tags": _NOTHING,
}
NEW_PROJECT = Schema("NewProject", only({"project": only({"name": NAME}, _PROJECT_FIELDS)}))
PROJECT = Schema("Project", only({"project": only({}, {"name": NAME, **_PROJECT_FIELDS})}))

_USER_FIELDS: Json = {
    "password": {**_NEW_SECRET, "type": ["string", "null"]},
    "description": _DESCRIPTION,
    "email": {"type": ["string", "null"], "maxLength": 255},
    "enabled": _BOOLEAN,
    "domain_id": _ID,
    "default_project_id": _ID,
    "options": _NO_OPTIONS,
}
# `project_id` means nothing to Keystone either, but its clients send it.
NEW_USER = Schema(
    "NewUser", only({"user": only({"name": NAME}, {**_USER_FIELDS, "project_id": _ID})})
)
USER = Schema("User", only({"user": only({}, {"name": NAME, **_USER_FIELDS})}))
PASSWORD = Schema(
    "NewPassword",
    only({"user": only({"password": _NEW_SECRET, "original_password": _SECRET})}),
)

_ROLE_FIELDS: Json = {
    "description": _DESCRIPTION,
    "domain_id": {"type": "null"},
    "options": _NO_OPTIONS,
}
NEW_ROLE = Schema("NewRole", only({"role": only({"name": NAME}, _ROLE_FIELDS)}))
ROLE = Schema("Role", only({"role": only({}, {"name": NAME, **_ROLE_FIELDS})}))

NEW_CREDENTIAL = Schema(
    "NewApplicationCredential",
    only(
        {
            "application_credential": only(
                {"name": NAME},
                {
                    "description": _DESCRIPTION,
                    "secret": {**_NEW_SECRET, "type": ["string", "null"]},
                    "roles": {
                        "type": ["array", "null"],
                        "items": {
                            **only({}, {"id": _TEXT, "name": _TEXT, "domain_id": _ID}),
                            "minProperties": 1,
                        },
                        "maxItems": 64,
                    },
                    "expires_at": {"type": ["string", "null"], "maxLength": 64},
                    "unrestricted": {"type": ["boolean", "null"]},
                    "access_rules": {**_NOTHING, "type": ["array", "null"]},
                    "project_id": _ID,
                },
            )
        }
    ),
)
