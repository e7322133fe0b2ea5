"""Identity's documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import request

from app.models import ApplicationCredential, Domain, Project, Role, User
from app.store.grants import Grant
from app.web.identity.tokens import Token
from app.web.times import micros, micros_z

Json = dict[str, Any]

SERVICES = (
    # id, type, name, path
    ("identity", "identity", "keystone", "/identity/v3"),
    ("compute", "compute", "nova", "/compute/v2.1"),
    ("image", "image", "glance", "/image"),
    ("network", "network", "neutron", "/network"),
)
INTERFACES = ("public", "internal", "admin")


def version(root: str) -> Json:
    """The version document of Identity v3 below `root`."""
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{root}/v3/"}],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
        ],
    }


def listed(name: str, shown: list[Json], base: str, following: str | None = None) -> Json:
    """A list under its name; `following` is the address of the next page."""
    links = {"self": f"{base}{request.path}", "previous": None, "next": following}
    return {name: shown, "links": links}


def catalog(base: str, region: str) -> list[Json]:
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


def services(base: str) -> list[Json]:
    """The catalog's services, one by one."""
    return [
        {
            "id": id_,
            "type": type_,
            "name": name,
            "description": "",
            "enabled": True,
            "links": _self(base, f"services/{id_}"),
        }
        for id_, type_, name, _ in SERVICES
    ]


def endpoints(base: str, region: str) -> list[Json]:
    """The catalog's endpoints, one by one."""
    return [
        {
            **endpoint,
            "service_id": service["id"],
            "enabled": True,
            "links": _self(base, f"endpoints/{endpoint['id']}"),
        }
        for service in catalog(base, region)
        for endpoint in service["endpoints"]
    ]


def region(name: str, base: str) -> Json:
    """The region, of which there is one."""
    links = _self(base, f"regions/{name}")
    return {"id": name, "description": "", "parent_region_id": None, "links": links}


def token(held: Token, base: str, region: str, *, with_catalog: bool = True) -> Json:
    """What a token says."""
    shown: Json = {
        "methods": list(held.methods),
        "user": {
            "id": held.user_id,
            "name": held.user_name,
            "domain": _named(held.user_domain),
            "password_expires_at": None,
        },
        "audit_ids": [held.id, held.chain] if held.chain else [held.id],
        "issued_at": micros_z(held.issued_at),
        "expires_at": micros_z(min(held.expires_at, 253402300799.0)),
    }
    if held.credential is not None:
        id_, name, unrestricted = held.credential
        shown["application_credential"] = {"id": id_, "name": name, "restricted": not unrestricted}
    if held.is_system:
        shown["system"] = {"all": True}
    elif held.project_id is not None:
        shown["project"] = {
            "id": held.project_id,
            "name": held.project_name,
            "domain": _named(held.project_domain),
        }
        shown["is_domain"] = False
    else:
        return {"token": shown}
    shown["roles"] = [_named(role) for role in held.roles]
    if with_catalog:
        shown["catalog"] = catalog(base, region)
    return {"token": shown}


def domain(row: Domain, base: str) -> Json:
    """A domain."""
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "enabled": row.enabled,
        "tags": [],
        "options": {},
        "links": _self(base, f"domains/{row.id}"),
    }


def project(row: Project, base: str) -> Json:
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
        "links": _self(base, f"projects/{row.id}"),
    }


def user(row: User, base: str) -> Json:
    """A user; nothing of the password."""
    return {
        "id": row.id,
        "name": row.name,
        "domain_id": row.domain_id,
        "description": row.description,
        "email": row.email,
        "default_project_id": row.default_project_id,
        "enabled": row.enabled,
        "password_expires_at": None,
        "options": {},
        "links": _self(base, f"users/{row.id}"),
    }


def role(row: Role, base: str) -> Json:
    """A role."""
    return {
        "id": row.id,
        "name": row.name,
        "domain_id": None,
        "description": row.description,
        "options": {},
        "links": _self(base, f"roles/{row.id}"),
    }


def grant(given: Grant, base: str, *, with_names: bool) -> Json:
    """A role assignment, with ids only or with names too."""
    user, role, project = given.user, given.role, given.project
    place = f"projects/{project.id}" if project is not None else "system"
    shown: Json = {
        "role": {"id": role.id},
        "user": {"id": user.id},
        "scope": {"system": {"all": True}} if project is None else {"project": {"id": project.id}},
        "links": {"assignment": f"{base}/identity/v3/{place}/users/{user.id}/roles/{role.id}"},
    }
    if with_names:
        shown["role"]["name"] = role.name
        shown["user"] |= {"name": user.name, "domain": _domain_name(given.user_domain)}
        if project is not None and given.project_domain is not None:
            home = _domain_name(given.project_domain)
            shown["scope"]["project"] |= {"name": project.name, "domain": home}
    return shown


def application_credential(
    row: ApplicationCredential, role_names: Mapping[str, str], base: str, secret: str | None = None
) -> Json:
    """An application credential; the secret only when it has just been made."""
    shown: Json = {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "user_id": row.user_id,
        "project_id": row.project_id,
        "roles": [
            {"id": id_, "name": role_names.get(id_, ""), "domain_id": None} for id_ in row.roles
        ],
        "unrestricted": row.unrestricted,
        "expires_at": micros(row.expires_at),
        "links": _self(base, f"users/{row.user_id}/application_credentials/{row.id}"),
    }
    return shown if secret is None else shown | {"secret": secret}


def _named(pair: tuple[str, str]) -> dict[str, str]:
    return {"id": pair[0], "name": pair[1]}


def _domain_name(row: Domain) -> dict[str, str]:
    return _named((row.id, row.name))


def _self(base: str, path: str) -> dict[str, str]:
    return {"self": f"{base}/identity/v3/{path}"}
