"""What the settings must say before a Keystone can be asked."""

from __future__ import annotations

import importlib.util
from urllib.parse import urlsplit

from app.config import Settings
from app.errors import Invalid

INTERFACES = ("public", "internal", "admin")
LONGEST = 60.0
"""Seconds that one request may wait for Keystone at most."""
_NEEDED = ("keystone_url", "keystone_user", "keystone_password", "keystone_project")


def check(settings: Settings) -> None:
    """Raise Invalid, with the setting's name, when Keystone could not be asked so."""
    for name in _NEEDED:
        if not getattr(settings, name):
            raise Invalid(f"setting {name}: auth = keystone needs it")
    for name in ("keystone_url", "keystone_public_url"):
        _check_url(name, getattr(settings, name))
    if settings.keystone_interface not in INTERFACES:
        raise Invalid(
            f"setting keystone_interface: {settings.keystone_interface!r} is not one of "
            f"{', '.join(INTERFACES)}"
        )
    if not 0 < settings.keystone_timeout <= LONGEST:
        raise Invalid(f"setting keystone_timeout: must be above 0 and at most {LONGEST:g} seconds")
    if not 0 <= settings.keystone_cache_seconds <= 3600:
        raise Invalid("setting keystone_cache_seconds: must be from 0 to 3600 seconds")
    if settings.keystone_ca is not None and not settings.keystone_ca.is_file():
        raise Invalid(f"setting keystone_ca: there is no file {settings.keystone_ca}")
    if importlib.util.find_spec("keystonemiddleware") is None:
        raise Invalid(
            "setting auth: keystone needs the package keystonemiddleware: install novella[keystone]"
        )


def v3(url: str) -> str:
    """The address of Identity v3 at a Keystone's `url`, which may name it or not; no last slash."""
    return url.rstrip("/").removesuffix("/v3") + "/v3"


def clients_url(settings: Settings) -> str:
    """Where clients reach the Keystone, without a version and without a slash at the end."""
    return v3(settings.keystone_public_url or settings.keystone_url).removesuffix("/v3")


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        wrong = bool(url) and (parts.scheme not in ("http", "https") or not parts.hostname)
        secret = parts.username is not None or bool(parts.query)
    except ValueError:
        wrong, secret = True, False
    if wrong or secret:
        raise Invalid(f"setting {name}: must be http://… or https://… without user and query")
