"""What Keystone is asked about a request."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Asked:
    """What of a request decides whether its tokens let it in; `path` has no service in front."""

    token: str = field(repr=False)
    service: str
    method: str
    path: str
    service_token: str = field(default="", repr=False)
