"""The right to read one image for one action: what a host shows instead of a credential."""

from __future__ import annotations

import time
from collections.abc import Sequence

from itsdangerous import BadData, URLSafeTimedSerializer

_SALT = "novella.image.read"


def _serializer(keys: Sequence[str]) -> URLSafeTimedSerializer:
    # itsdangerous wants the newest key last: that one signs, all of them verify.
    return URLSafeTimedSerializer(list(reversed(keys)), salt=_SALT)


def make_token(keys: Sequence[str], image_id: str, action_id: str, valid_seconds: int) -> str:
    """A token that lets its bearer download `image_id` for the next `valid_seconds`.

    `action_id` names the action that it was made for, for the log.
    """
    until = int(time.time()) + valid_seconds
    return str(_serializer(keys).dumps({"image": image_id, "action": action_id, "until": until}))


def check_token(keys: Sequence[str], token: str, image_id: str) -> bool:
    """Whether `token` is ours, still valid, and for `image_id`."""
    try:
        held = _serializer(keys).loads(token)
    except BadData:
        return False
    return (
        isinstance(held, dict)
        and held.get("image") == image_id
        and float(held.get("until", 0)) > time.time()
    )
