"""The API's certificate: checked before it is served, and known to those who ask the API."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from app.config import Settings
from app.errors import Invalid


def check(settings: Settings) -> None:
    """Raise Invalid unless certificate and key are readable and belong together, or both unset."""
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        given, missing = ("key", "certificate") if key else ("certificate", "key")
        raise Invalid(f"setting tls_{missing}: tls_{given} is set, so this is needed too")
    if _certificate(certificate).public_key() != _public_half(key):
        raise Invalid(f"setting tls_key: {key} is not the key of the certificate {certificate}")


def is_self_signed(certificate: Path) -> bool:
    """Whether no CA stands behind the certificate. Raises Invalid when it cannot be read."""
    found = _certificate(certificate)
    return found.issuer == found.subject


def require_name(settings: Settings) -> None:
    """Raise Invalid when the certificate is for other names than that of the API's URL."""
    if settings.tls_certificate is None:
        return
    host = urlsplit(settings.api_url).hostname or ""
    names = _names(_certificate(settings.tls_certificate))
    if not any(_matches(name, host) for name in names):
        listed = ", ".join(names) or "no name at all"
        raise Invalid(
            f"setting tls_certificate: it is for {listed}, and not for {host}: set public_url "
            f"to https://NAME:{settings.port} with a name that it is for"
        )


def verification(settings: Settings) -> str | bool:
    """What `requests` takes as `verify`: our own CA certificates, or the public ones."""
    if settings.tls_ca is None:
        return True
    if not settings.tls_ca.is_file():
        raise Invalid(f"setting tls_ca: there is no file {settings.tls_ca}")
    return str(settings.tls_ca)


def own_server(settings: Settings) -> ssl.SSLContext:
    """For asking our own web process by its address: whoever has our very key is right."""
    context = ssl.create_default_context(cafile=str(settings.tls_certificate))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(_read(path, "tls_certificate"))[0]
    except ValueError as error:
        raise Invalid(f"setting tls_certificate: {path} holds no PEM certificate") from error


def _public_half(path: Path) -> object:
    try:
        return load_pem_private_key(_read(path, "tls_key"), password=None).public_key()
    except TypeError as error:
        raise Invalid(f"setting tls_key: {path} has a password: store it without") from error
    except ValueError as error:
        raise Invalid(f"setting tls_key: {path} holds no PEM private key") from error


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid(f"setting {setting}: {path}: {error.strerror}") from error


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = found.get_values_for_type(x509.IPAddress)
    return [*found.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _matches(name: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(host)
    except ValueError:
        pass
    if name.startswith("*."):
        return host.partition(".")[2].lower() == name[2:].lower()
    return host.lower() == name.lower()
