"""What a running cloud has: images, flavors, networks, actions, microversions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.config import load
from app.web.compute import later_actions
from app.web.compute.actions import ACTIONS
from app.web.factory import create_app
from tests.cloud import PASSWORDS, Cloud
from tests.http_client import Client

# id, name, RAM in MiB: two that the tiny image boots in, the second larger, as a resize needs.
FLAVORS = (("tempest-1", "tempest.tiny", 192), ("tempest-2", "tempest.small", 256))


@dataclass(frozen=True)
class Facts:
    """All that tempest.conf is written from."""

    root: str
    admin_password: str
    images: tuple[str, str]
    flavors: tuple[str, str]
    network: str
    external_network: tuple[str, str] | None
    network_extensions: tuple[str, ...]
    actions: frozenset[str]
    routes: frozenset[str]
    min_microversion: str
    max_microversion: str
    hosts: int


def gather(cloud: Cloud, image: Path, hosts: int) -> Facts:
    """Make the two images and flavors, and ask the cloud for the rest."""
    root = f"http://127.0.0.1:{cloud.web_port}"
    admin = Client(root, "admin")
    ids = [admin.upload(image, f"tempest-{number}", visibility="public") for number in (1, 2)]
    for id_, name, ram in FLAVORS:
        wanted = {"id": id_, "name": name, "ram": ram, "vcpus": 1, "disk": 1}
        admin.call("POST", "/compute/v2.1/flavors", json={"flavor": wanted})
    networks = admin.call("GET", "/network/v2.0/networks").json()["networks"]
    extensions = admin.call("GET", "/network/v2.0/extensions").json()["extensions"]
    version = admin.call("GET", "/compute/v2.1").json()["version"]
    app = create_app(load(cloud.env()))
    return Facts(
        root=root,
        admin_password=PASSWORDS["admin"],
        images=(ids[0], ids[1]),
        flavors=(FLAVORS[0][0], FLAVORS[1][0]),
        network=next(one["name"] for one in networks if one["shared"]),
        external_network=next(
            ((one["id"], one["name"]) for one in networks if one.get("router:external")), None
        ),
        network_extensions=tuple(one["alias"] for one in extensions),
        actions=frozenset(name for name, known in ACTIONS.items() if _is_done(known[2])),
        routes=frozenset(rule.rule for rule in app.url_map.iter_rules()),
        min_microversion=version["min_version"],
        max_microversion=version["version"],
        hosts=hosts,
    )


def _is_done(perform: Callable[..., object]) -> bool:
    """Whether an action does something: those of `later_actions` only say why they do not."""
    return perform.__module__ != later_actions.__name__
