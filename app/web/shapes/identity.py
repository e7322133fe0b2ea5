"""Identity's answers."""

from __future__ import annotations

from app.web.shapes.parts import (
    EMPTY,
    LINKS,
    NULL,
    TEXT,
    TRUTH,
    Part,
    Record,
    either,
    many,
    maybe,
    sometimes,
    under,
)

_NAMED = Record({"id": TEXT, "name": TEXT})
_SELF = Record({"self": TEXT})


def listed(name: str, part: Part) -> Record:
    """A list in Identity, with its links."""
    return _listed(name, many(part))


def none(name: str) -> Record:
    """A list of what there is none of."""
    return _listed(name, EMPTY)


def _listed(name: str, part: Part) -> Record:
    links = Record({"self": TEXT, "previous": NULL, "next": maybe(TEXT)})
    return under(name, part, links=links)


# Versions
_MEDIA = Record({"base": TEXT, "type": TEXT})
VERSION = under(
    "version",
    Record(
        {
            **dict.fromkeys(("id", "status", "updated"), TEXT),
            "links": LINKS,
            "media-types": many(_MEDIA),
        }
    ),
)

# What the catalog has
_ENDPOINT = Record(dict.fromkeys(("id", "interface", "region", "region_id", "url"), TEXT))
CATALOG = many(Record({"id": TEXT, "type": TEXT, "name": TEXT, "endpoints": many(_ENDPOINT)}))
ALL_SERVICES = under("catalog", CATALOG, links=_SELF)
SERVICE = Record(
    {
        **dict.fromkeys(("id", "type", "name", "description"), TEXT),
        "enabled": TRUTH,
        "links": _SELF,
    },
    "IdentityService",
)
ENDPOINT = Record(
    {**_ENDPOINT.fields, "service_id": TEXT, "enabled": TRUTH, "links": _SELF}, "Endpoint"
)
REGION = Record(
    {"id": TEXT, "description": TEXT, "parent_region_id": NULL, "links": _SELF}, "Region"
)

# Tokens
TOKEN = under(
    "token",
    Record(
        {
            "methods": many(TEXT),
            "user": Record(
                {"id": TEXT, "name": TEXT, "domain": _NAMED, "password_expires_at": NULL}
            ),
            "audit_ids": many(TEXT),
            "issued_at": TEXT,
            "expires_at": TEXT,
            "application_credential": sometimes(
                Record({"id": TEXT, "name": TEXT, "restricted": TRUTH})
            ),
            "system": sometimes(Record({"all": TRUTH})),
            "project": sometimes(Record({"id": TEXT, "name": TEXT, "domain": _NAMED})),
            "is_domain": sometimes(TRUTH),
            "roles": sometimes(many(_NAMED)),
            "catalog": sometimes(CATALOG),
        },
        "Token",
    ),
)
SYSTEM = Record({"all": {"const": True}})
"""The whole cloud, as what a token can be scoped to."""

# Records
_KEPT: dict[str, Part] = {
    "id": TEXT,
    "name": TEXT,
    "description": TEXT,
    "options": Record({}),
    "links": _SELF,
}
DOMAIN = Record({**_KEPT, "enabled": TRUTH, "tags": EMPTY}, "Domain")
PROJECT = Record(
    {
        **_KEPT,
        "domain_id": TEXT,
        "enabled": TRUTH,
        "is_domain": TRUTH,
        "parent_id": TEXT,
        "tags": EMPTY,
    },
    "Project",
)
USER = Record(
    {
        **_KEPT,
        "domain_id": TEXT,
        "email": maybe(TEXT),
        "default_project_id": maybe(TEXT),
        "enabled": TRUTH,
        "password_expires_at": NULL,
    },
    "User",
)
ROLE = Record({**_KEPT, "domain_id": NULL}, "Role")

# Who has which role where, with ids alone or with names as well
_ID = Record({"id": TEXT})
_AT_HOME = Record({"id": TEXT, "name": TEXT, "domain": _NAMED})


def _grant(role: Part, user: Part, project: Part) -> Record:
    scope = either(under("system", SYSTEM), under("project", project))
    links = Record({"assignment": TEXT})
    return Record({"role": role, "user": user, "scope": scope, "links": links})


GRANT = either(_grant(_ID, _ID, _ID), _grant(_NAMED, _AT_HOME, _AT_HOME))

# Application credentials
CREDENTIAL = Record(
    {
        **dict.fromkeys(("id", "name", "description", "user_id", "project_id"), TEXT),
        "roles": many(Record({"id": TEXT, "name": TEXT, "domain_id": NULL})),
        "unrestricted": TRUTH,
        "expires_at": maybe(TEXT),
        "links": _SELF,
    },
    "ApplicationCredential",
)
ONE_CREDENTIAL = under("application_credential", CREDENTIAL)
CREDENTIAL_MADE = under("application_credential", CREDENTIAL | {"secret": TEXT})
