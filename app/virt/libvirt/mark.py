"""Our mark in a libvirt object's metadata: whose it is, and how far it has come."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

NAMESPACE = "urn:novella:guest:1"
PREFIX = "novella"

ET.register_namespace(PREFIX, NAMESPACE)


@dataclass(frozen=True)
class Mark:
    """On a domain; see `app.domain.guest.Guest` for the numbers. One without `rescue` has 0.

    `ended` is the fence of the request that has ended the guest to boot it from something else,
    and not defined it anew yet; else 0.
    """

    cloud_id: str
    server_id: str
    fence: int
    committed: bool = False
    applied: int = 0
    rescue: int = 0
    ended: int = 0

    @property
    def known(self) -> int:
        """The highest fence that has reached the guest."""
        return max(self.fence, self.applied)


def element(mark: Mark) -> ET.Element:
    """The mark as an XML element of a domain's definition."""
    return ET.Element(f"{{{NAMESPACE}}}guest", _attributes(mark))


def text(mark: Mark) -> str:
    """The mark as libvirt's setMetadata wants it: it adds the namespace itself."""
    return ET.tostring(ET.Element("guest", _attributes(mark)), encoding="unicode")


def _attributes(mark: Mark) -> dict[str, str]:
    told = {
        "cloud": mark.cloud_id,
        "server": mark.server_id,
        "fence": str(mark.fence),
        "committed": "yes" if mark.committed else "no",
        "applied": str(mark.applied),
    }
    seldom = {"rescue": mark.rescue, "ended": mark.ended}
    return told | {name: str(fence) for name, fence in seldom.items() if fence}


def parse(xml: str) -> Mark | None:
    """Read a mark back; None when it is not one."""
    try:
        found = ET.fromstring(xml)
        return Mark(
            found.attrib["cloud"],
            found.attrib["server"],
            int(found.attrib["fence"]),
            found.attrib["committed"] == "yes",
            int(found.attrib["applied"]),
            int(found.attrib.get("rescue", "0")),
            int(found.attrib.get("ended", "0")),
        )
    except (ET.ParseError, KeyError, ValueError):
        return None
