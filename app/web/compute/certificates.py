"""X.509 certificates as key pairs, for guests that are reached by WinRM."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from app.errors import Invalid

_BITS = 2048
_YEARS = 10
_PRINCIPAL = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")


def fingerprint(certificate: str) -> str:
    """SHA-1 of a PEM certificate, in pairs, as Nova shows it. Raises Invalid when it is none."""
    try:
        read = x509.load_pem_x509_certificate(certificate.encode())
        digest = read.fingerprint(hashes.SHA1()).hex()  # a name, not a proof
    except (ValueError, UnicodeEncodeError) as error:
        raise Invalid("Keypair data is invalid: not a PEM certificate") from error
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def generate(user_id: str) -> tuple[str, str]:
    """A private key and its certificate, both PEM, with which `user_id` may log in to a guest."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    user = user_id[:64].encode("ascii", "replace").decode()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user)])
    principal = f"{user}@localhost".encode()
    # A user principal name is a UTF8String (tag 12), in DER.
    other = x509.OtherName(_PRINCIPAL, bytes([12, len(principal)]) + principal)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([other]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()
