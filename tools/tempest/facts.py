"""What a running cloud has: images, flavors, networks, actions, microversions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.config import load
from app.web.compute import later_actions
from app.web.compute.actions import ACTIONS
from app.web.factory import create_app
from tests.cloud import Cloud
from tests.http_client import Client
from tests.templates import PASSWORDS

# id, name, RAM in MiB: two that the tiny image boots in, the second larger, as a resize needs.
FLAVORS = (("tempest-1", "tempest.tiny", 192), ("tempest-2", "tempest.small", 256))

EXTERNAL = "198.51.100.0/24"


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
    external = _external_network(admin)
    networks = admin.call("GET", "/network/v2.0/networks").json()["networks"]
    extensions = admin.call("GET", "/network/v2.0/extensions").json()["extensions"]
    version = admin.call("GET", "/compute/v2.1").json()["version"]
    app = create_app(load(cloud.env()))
    return Facts(
        root=root,
        admin_password=PASSWORDS["admin"],
        images=(ids[0], ids[1]),
        flavors=(FLAVORS[0][0], FLAVORS[1][0]),
        network=next(
            one["name"] for one in networks if one["shared"] and not one.get("router:external")
        ),
        external_network=external,
        network_extensions=tuple(one["alias"] for one in extensions),
        actions=frozenset(name for name, known in ACTIONS.items() if _is_done(known[2])),
        routes=frozenset(rule.rule for rule in app.url_map.iter_rules()),
        min_microversion=version["min_version"],
        max_microversion=version["version"],
        hosts=hosts,
    )


def _external_network(admin: Client) -> tuple[str, str] | None:
    """A network of floating addresses: its id and name; None where Network is only to be read."""
    path, wanted = f"{admin.root}/network/v2.0", {"name": "public", "router:external": True}
    made = admin.session.post(f"{path}/networks", json={"network": wanted}, timeout=30)
    if made.status_code != 201:
        return None
    id_ = str(made.json()["network"]["id"])
    subnet = {"network_id": id_, "ip_version": 4, "cidr": EXTERNAL, "enable_dhcp": False}
    admin.call("POST", "/network/v2.0/subnets", 201, json={"subnet": subnet})
    return id_, "public"


def _is_done(perform: Callable[..., object]) -> bool:
    """Whether an action does something: those of `later_actions` only say why they do not."""
    return perform.__module__ != later_actions.__name__
