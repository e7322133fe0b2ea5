"""The setting `auth`: by whom the API knows who asks."""

from __future__ import annotations

from app.config import Settings
from app.errors import Invalid
from app.web import noauth
from app.web.keystone import configured

MODES = ("identity", "keystone", "noauth")


def check(settings: Settings) -> None:
    """Raise Invalid when nobody could be known, or the cloud would be open to the network."""
    if settings.auth not in MODES:
        raise Invalid(f"setting auth: {settings.auth!r} is not one of {', '.join(MODES)}")
    if settings.auth == "keystone":
        configured.check(settings)
    noauth.check(settings)
