"""The right to read one image for one action: what a host shows instead of a credential."""

from __future__ import annotations

import time
from collections.abc import Sequence

from itsdangerous import BadData, URLSafeTimedSerializer

_SALT, _WRITE_SALT = "novella.image.read", "novella.image.write"


def _serializer(keys: Sequence[str], salt: str = _SALT) -> URLSafeTimedSerializer:
    # itsdangerous wants the newest key last: that one signs, all of them verify.
    return URLSafeTimedSerializer(list(reversed(keys)), salt=salt)


def make_upload_token(
    keys: Sequence[str], image_id: str, file_name: str, valid_seconds: int
) -> str:
    """A token that lets its bearer send `image_id` its data, once, as the file `file_name`."""
    until = int(time.time()) + valid_seconds
    held = {"image": image_id, "file": file_name, "until": until}
    return str(_serializer(keys, _WRITE_SALT).dumps(held))


def upload_named(keys: Sequence[str], token: str, image_id: str) -> str | None:
    """The file that `token` lets its bearer send as the data of `image_id`; None for none."""
    try:
        held = _serializer(keys, _WRITE_SALT).loads(token)
    except BadData:
        return None
    good = (
        isinstance(held, dict)
        and held.get("image") == image_id
        and float(held.get("until", 0)) > time.time()
    )
    return str(held["file"]) if good else None


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
