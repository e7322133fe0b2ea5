"""Compute's small documents. Plain functions from rows to what goes on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.models import Flavor, Keypair
from app.web import context, query
from app.web.policy import allows
from app.web.times import micros


@dataclass(frozen=True)
class Audience:
    """For whom a document is made: what it is linked from, its microversion, who reads it.

    `sees`: the rules that show more, of those that the document asks and that allow it.
    """

    base: str
    version: tuple[int, int]
    is_admin: bool
    sees: frozenset[str] = frozenset()


def audience(asks: Iterable[str] = ()) -> Audience:
    """This request's, which sees what those rules among `asks` show that allow it."""
    sees = frozenset(rule for rule in asks if allows(rule))
    return Audience(context.base_url(), context.version(), context.caller().is_admin, sees)


def links(base: str, kind: str, id_: str) -> list[dict[str, str]]:
    """The two links that Nova gives everything: with the version, and without."""
    return [
        {"rel": "self", "href": f"{base}/compute/v2.1/{kind}/{id_}"},
        {"rel": "bookmark", "href": f"{base}/compute/{kind}/{id_}"},
    ]


def bookmark(base: str, kind: str, id_: str) -> list[dict[str, str]]:
    """The link that never names a version."""
    return [{"rel": "bookmark", "href": f"{base}/compute/{kind}/{id_}"}]


def next_link(marker: str, size: int) -> list[dict[str, str]]:
    """Where the list goes on."""
    return [{"rel": "next", "href": query.next_page(marker, size)}]


def flavor_short(flavor: Flavor, to: Audience) -> dict[str, Any]:
    """A flavor in a plain list; from 2.55 with its description."""
    shown: dict[str, Any] = {
        "id": flavor.id,
        "name": flavor.name,
        "links": links(to.base, "flavors", flavor.id),
    }
    return shown | _described(flavor, to)


def flavor(flavor: Flavor, to: Audience) -> dict[str, Any]:
    """A flavor with all it has; before 2.75 no swap is an empty string."""
    shown: dict[str, Any] = {
        "id": flavor.id,
        "name": flavor.name,
        "ram": flavor.ram_mb,
        "disk": flavor.disk_gb,
        "vcpus": flavor.vcpus,
        "swap": flavor.swap_mb if to.version >= (2, 75) else flavor.swap_mb or "",
        "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral_gb,
        "os-flavor-access:is_public": flavor.is_public,
        "links": links(to.base, "flavors", flavor.id),
    }
    if to.version < (2, 102):
        shown["rxtx_factor"] = flavor.rxtx_factor
        shown["OS-FLV-DISABLED:disabled"] = flavor.disabled
    return shown | _described(flavor, to)


def flavor_with_specs(row: Flavor, to: Audience) -> dict[str, Any]:
    """A flavor with all it has and its extra specs, as from 2.61 on."""
    return flavor(row, to) | {"extra_specs": row.extra_specs}


def _described(flavor: Flavor, to: Audience) -> dict[str, Any]:
    return {"description": flavor.description} if to.version >= (2, 55) else {}


def keypair(row: Keypair, to: Audience) -> dict[str, Any]:
    """A key in a list; from 2.2 with its type."""
    shown: dict[str, Any] = {
        "name": row.name,
        "public_key": row.public_key,
        "fingerprint": row.fingerprint,
    }
    if to.version >= (2, 2):
        shown["type"] = row.type
    return shown


def keypair_whole(row: Keypair, to: Audience) -> dict[str, Any]:
    """A key on its own."""
    return {
        **keypair(row, to),
        "user_id": row.user_id,
        "id": 0,  # Nova's rows count; ours are named by user and name
        "created_at": micros(row.created_at),
        "updated_at": None,
        "deleted": False,
        "deleted_at": None,
    }


def keypair_made(row: Keypair, private_key: str | None, to: Audience) -> dict[str, Any]:
    """A key just made, with its private half if that was made here: it is kept nowhere."""
    shown = {**keypair(row, to), "user_id": row.user_id}
    return {**shown, "private_key": private_key} if private_key is not None else shown
