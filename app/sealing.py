"""Secrets that have to wait in a row: sealed with the cloud's signing keys, gone at its end."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.fernet import Fernet, MultiFernet

SEALED = "sealed"
"""The argument of an action that holds what was sealed."""


def seal(keys: Sequence[str], secrets: Mapping[str, str]) -> str:
    """`secrets` as text that only who has one of `keys` can read (the newest key is first)."""
    return cipher(keys, "action").encrypt(json.dumps(dict(secrets)).encode()).decode()


def opened(keys: Sequence[str], sealed: str) -> dict[str, Any]:
    """What was sealed. Raises cryptography.fernet.InvalidToken when no key fits."""
    found: dict[str, Any] = json.loads(cipher(keys, "action").decrypt(sealed.encode()))
    return found


def cipher(keys: Sequence[str], use: str) -> MultiFernet:
    """The newest key encrypts, all decrypt; each is stretched for this use alone."""
    stretched = [hashlib.sha256(f"novella.{use}:{key}".encode()).digest() for key in keys]
    return MultiFernet([Fernet(urlsafe_b64encode(key)) for key in stretched])
