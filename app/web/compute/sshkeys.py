"""SSH keys: reading a public one, making a pair."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from app.errors import Invalid

_BITS = 3072


def fingerprint(public_key: str) -> str:
    """MD5 of the key's blob, in pairs, as Nova shows it. Raises Invalid when it is no key."""
    parts = public_key.strip().split(None, 2)
    if len(parts) < 2 or "\n" in public_key.strip():
        raise Invalid("Keypair data is invalid: failed to generate fingerprint")
    try:
        blob = base64.b64decode(parts[1], validate=True)
        (length,) = struct.unpack(">I", blob[:4])
        named = blob[4 : 4 + length].decode("ascii")
    except (binascii.Error, struct.error, ValueError) as error:
        raise Invalid("Keypair data is invalid: failed to generate fingerprint") from error
    if named != parts[0]:
        raise Invalid("Keypair data is invalid: the key is not of the type that it names")
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, 32, 2))


def generate(comment: str) -> tuple[str, str]:
    """A new pair: the private key as PEM, the public one as OpenSSH text."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return private.decode(), f"{public.decode()} {comment}"
