"""Can this machine be a hypervisor? Asked before anything is changed, answered in plain words."""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from app.config import Settings
from app.domain.guest import HostFacts
from app.errors import HostFault, Invalid, NovellaError
from app.virt.loader import load_driver

LEAST_LIBVIRT = 9_000_000  # what Debian 12 has: nothing older was ever tried
_PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DAEMONS = ("libvirtd", "virtqemud")
PACKAGES = "libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-system qemu-system-x86"


@dataclass(frozen=True)
class Advice:
    """A part of libvirt's own message, and what it means here."""

    said: tuple[str, ...]
    means: str


_ADVICE = (
    Advice(
        ("permission denied", "authentication", "polkit"),
        "this user may not use it: run as root, or as a member of the group libvirt",
    ),
    Advice(
        ("no connection driver available", "could not dlopen", "failed to load driver"),
        "its QEMU driver is missing: apt-get install libvirt-daemon-driver-qemu qemu-system-x86",
    ),
    Advice(
        ("no such file", "connection refused", "no answer within"),
        "it is not running: systemctl enable --now libvirtd; or give --own-libvirtd",
    ),
)


def require_libraries(settings: Settings) -> None:
    """Raises Invalid when what the driver needs on this machine is not installed."""
    if not uses_libvirt(settings):
        return
    try:
        import libvirt  # noqa: F401
    except ImportError as error:
        raise Invalid(
            f"libvirt-python is not installed here ({error}): install novella with its extra "
            "`host`, as in pip install 'novella-….whl[host]' (it is built with gcc, pkg-config, "
            "python3-dev and libvirt-dev)"
        ) from error
    if shutil.which("qemu-img", path=_PATHS) is None:
        raise Invalid("qemu-img is not installed here: apt-get install qemu-utils")


def facts(settings: Settings, name: str) -> HostFacts:
    """What the hypervisor says of itself, its uuid above all: the agent will say the same.

    Raises Invalid with what to do when it is not there, too old or cannot run guests.
    """
    # Without a proof of KVM: the agent makes that, and it leaves files.
    driver = load_driver(replace(settings, virt_type="qemu"), name, "")
    try:
        if uses_libvirt(settings):
            _check_libvirt(settings.libvirt_uri)
        driver.open()
        return driver.facts()
    except HostFault as fault:
        away = fault.code == "hypervisor_away"
        raise Invalid(_explain(settings, fault.message) if away else fault.message) from fault
    finally:
        driver.close()


def uses_libvirt(settings: Settings) -> bool:
    """Whether guests are libvirt's."""
    return settings.driver.startswith("app.virt.libvirt.")


def own_address(cloud_url: str) -> str:
    """The address from which this machine reaches the API: other machines know it by that.

    Raises Invalid when the URL's host has no address or no route.
    """
    parts = urlsplit(cloud_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        family, kind, _, _, target = socket.getaddrinfo(
            parts.hostname, port, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)  # sends nothing: it only chooses a route
            return str(probe.getsockname()[0])
    except OSError as error:
        raise Invalid(f"--cloud {cloud_url}: {error.strerror or error}") from error


def default_name() -> str:
    """This machine's host name, as far as a host may be called so."""
    kept = (c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in socket.gethostname())
    return "".join(kept).strip("-._")[:63]


def _check_libvirt(uri: str) -> None:
    from app.virt.libvirt.connection import Connection

    connection = Connection(uri)
    try:
        link: Any = connection.get()
        version = int(link.getLibVersion())
        if version < LEAST_LIBVIRT:
            raise Invalid(
                f"libvirt {_dotted(version)} at {uri} is too old: {_dotted(LEAST_LIBVIRT)} or newer"
            )
        if link.getType() == "QEMU" and "<os_type>hvm</os_type>" not in link.getCapabilities():
            raise Invalid(f"libvirt at {uri} finds no QEMU: apt-get install qemu-system-x86")
    finally:
        connection.close()


def _explain(settings: Settings, message: str) -> str:
    said = message.lower()
    if not any(shutil.which(name, path=_PATHS) for name in _DAEMONS):
        return f"libvirt is not installed here: apt-get install {PACKAGES}"
    for advice in _ADVICE:
        if any(part in said for part in advice.said):
            return f"libvirt at {settings.libvirt_uri}: {advice.means} ({message})"
    return f"libvirt at {settings.libvirt_uri}: {message}"


def _dotted(version: int) -> str:
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"


def remove_networks(settings: Settings, name: str) -> None:
    """Remove this cloud's networks from this machine, where no guest is left. Raises HostFault."""
    driver = load_driver(replace(settings, virt_type="qemu"), name, settings.cloud_id)
    try:
        driver.open()
        if hasattr(driver, "remove_networks"):
            driver.remove_networks()
    finally:
        driver.close()


def guests(settings: Settings, name: str) -> int:
    """How many guests of this cloud are on this machine. Raises NovellaError."""
    if not settings.cloud_id:
        raise NovellaError("the cloud's id is not in this host's settings")
    driver = load_driver(replace(settings, virt_type="qemu"), name, settings.cloud_id)
    try:
        driver.open()
        found = driver.inventory()
    finally:
        driver.close()
    if not found.complete:
        raise NovellaError("the hypervisor did not tell all that it has")
    return len(found.guests)
