"""Identity's documents."""

from __future__ import annotations

from typing import Any

from app.models import Project
from app.web.identity.tokens import Token
from app.web.times import micros_z

SERVICES = (
    # id, type, name, path
    ("identity", "identity", "keystone", "/identity/v3"),
    ("compute", "compute", "nova", "/compute/v2.1"),
    ("image", "image", "glance", "/image"),
    ("network", "network", "neutron", "/network"),
)
INTERFACES = ("public", "internal", "admin")


def version(base: str) -> dict[str, Any]:
    """Identity v3's version document."""
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{base}/identity/v3/"}],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
        ],
    }


def catalog(base: str, region: str) -> list[dict[str, Any]]:
    """Every service with its endpoints, all below `base`."""
    return [
        {
            "id": id_,
            "type": type_,
            "name": name,
            "endpoints": [
                {
                    "id": f"{id_}-{interface}",
                    "interface": interface,
                    "region": region,
                    "region_id": region,
                    "url": f"{base}{path}",
                }
                for interface in INTERFACES
            ],
        }
        for id_, type_, name, path in SERVICES
    ]


def token(held: Token, base: str, region: str, *, with_catalog: bool = True) -> dict[str, Any]:
    """What a token says."""
    shown: dict[str, Any] = {
        "methods": list(held.methods),
        "user": {
            "id": held.user_id,
            "name": held.user_name,
            "domain": _named(held.user_domain),
            "password_expires_at": None,
        },
        "audit_ids": [held.id],
        "issued_at": micros_z(held.issued_at),
        "expires_at": micros_z(min(held.expires_at, 253402300799.0)),
    }
    if held.project_id is not None:
        shown["project"] = {
            "id": held.project_id,
            "name": held.project_name,
            "domain": _named(held.project_domain),
        }
        shown["is_domain"] = False
        shown["roles"] = [_named(role) for role in held.roles]
        if with_catalog:
            shown["catalog"] = catalog(base, region)
    return {"token": shown}


def _named(pair: tuple[str, str]) -> dict[str, str]:
    return {"id": pair[0], "name": pair[1]}


def project(row: Project, base: str) -> dict[str, Any]:
    """A project."""
    return {
        "id": row.id,
        "name": row.name,
        "domain_id": row.domain_id,
        "description": row.description,
        "enabled": row.enabled,
        "is_domain": False,
        "parent_id": row.domain_id,
        "tags": [],
        "options": {},
        "links": {"self": f"{base}/identity/v3/projects/{row.id}"},
    }
