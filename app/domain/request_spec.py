"""What the scheduler is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.resources import Resources


@dataclass(frozen=True)
class RequestSpec:
    """One request's needs: each of its servers wants `resources` on an allowed host.

    `tried` names hosts that failed this request before; `forced_host` is an administrator's
    choice, which skips every filter but "has room".
    """

    resources: Resources
    zone: str | None = None
    forced_host: str | None = None
    tried: frozenset[str] = frozenset()
