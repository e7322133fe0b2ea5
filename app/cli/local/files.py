"""The files that `bin/up` writes: settings, secrets, clouds.yaml. All atomic and 0600."""

from __future__ import annotations

import json
import os
import secrets
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from app.cli.local.place import Place
from app.config import Settings
from app.errors import Invalid

_HEADER = """\
# Settings of this cloud, read by each of its processes; docs/settings.md describes them.
# bin/up keeps what you change here and adds what it needs. Restart with bin/down and bin/up.
"""


def write_private(path: Path, text: str) -> bool:
    """Replace `path` by `text`, readable by its owner only; False when it was so already."""
    if path.exists() and path.read_text() == text:
        path.chmod(0o600)
        return False
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    return True


def secret(place: Place, name: str) -> str:
    """The password of that name, made at its first use."""
    path = place.secrets / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24) + "\n")
    return path.read_text().strip()


def read_settings(place: Place) -> dict[str, Any]:
    """What novella.toml holds, nothing when it is not there. Raises Invalid."""
    if not place.config.exists():
        return {}
    try:
        return tomllib.loads(place.config.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Invalid(f"{place.config}: {error}; mend it or remove it") from error


def write_settings(place: Place, values: Mapping[str, Any]) -> None:
    """Write novella.toml if `values` differ from what it holds."""
    if read_settings(place) == dict(values):
        return
    # A JSON scalar is a TOML scalar.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    write_private(place.config, _HEADER + "\n".join(lines) + "\n")


def write_clouds(place: Place, settings: Settings) -> None:
    """clouds.yaml with the tenant `novella` and the operator `novella-admin`.

    What stands there already is kept, a changed password above all; only the URL is ours, and
    the CA certificate when there is one.
    """
    auth_url = f"{settings.public_url.rstrip('/') or settings.api_url}/identity"
    ours = {"cacert": str(settings.tls_ca)} if settings.tls_ca else {}
    try:
        loaded = yaml.safe_load(place.clouds.read_text()) if place.clouds.exists() else None
    except (OSError, yaml.YAMLError) as error:
        raise Invalid(f"{place.clouds}: {error}; mend it or remove it") from error
    clouds = dict((loaded or {}).get("clouds") or {})
    for cloud, user in (("novella", "novella"), ("novella-admin", "admin")):
        entry = clouds.get(cloud) or _entry(place, user, settings.region)
        clouds[cloud] = {**entry, **ours, "auth": {**entry["auth"], "auth_url": auth_url}}
    if loaded != {"clouds": clouds}:
        write_private(place.clouds, yaml.safe_dump({"clouds": clouds}, sort_keys=False))


def _entry(place: Place, user: str, region: str) -> dict[str, Any]:
    return {
        "auth": {
            "auth_url": "",
            "username": user,
            "password": secret(place, f"{user}-password"),
            "project_name": user,
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        },
        "region_name": region,
        "identity_api_version": 3,
    }
