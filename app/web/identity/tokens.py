"""Tokens: signed, self-contained, verified without a query; revocations are read every 2 s."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from app.domain.caller import Caller
from app.errors import Unauthorized
from app.images.keys import load_keys

REVOCATION_SECONDS = 2.0
KEY_SECONDS = 5.0
DENIED = "The request you have made requires authentication."


@dataclass(frozen=True)
class Token:
    """Who may act for which project until when. Times are seconds since the epoch.

    `project_id` is None for an unscoped token; `roles` are pairs of id and name.
    """

    id: str
    user_id: str
    user_name: str
    user_domain: tuple[str, str]
    project_id: str | None
    project_name: str
    project_domain: tuple[str, str]
    roles: tuple[tuple[str, str], ...]
    methods: tuple[str, ...]
    issued_at: float
    expires_at: float

    def caller(self, request_id: str) -> Caller:
        """The same as the rest of the program knows it."""
        return Caller(
            user_id=self.user_id,
            project_id=self.project_id or "",
            roles=frozenset(name for _, name in self.roles),
            request_id=request_id,
            user_name=self.user_name,
            project_name=self.project_name,
        )


class KeyRing:
    """The signing keys of a directory, read again every few seconds, so that rotation is a file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keys: list[str] = []
        self._due = 0.0

    def current(self) -> list[str]:
        """All keys, newest first."""
        if time.monotonic() >= self._due:
            self._keys = load_keys(self._directory)
            self._due = time.monotonic() + KEY_SECONDS
        return self._keys


@dataclass(frozen=True)
class Revoked:
    """One revocation: a token by its id, or all that a user or project got before `at`."""

    kind: str
    target: str
    at: float


class Revocations:
    """What is revoked, as of at most `REVOCATION_SECONDS` ago."""

    def __init__(self, read: Callable[[], list[Revoked]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._at: dict[tuple[str, str], float] = {}
        self._due = 0.0

    def add(self, revoked: Revoked) -> None:
        """Know of one at once, in this process."""
        with self._lock:
            self._at = {**self._at, (revoked.kind, revoked.target): revoked.at}
            self._due = 0.0

    def cover(self, token: Token) -> bool:
        """Whether `token` is revoked."""
        self._refresh()
        if ("token", token.id) in self._at:
            return True
        return any(
            token.issued_at <= self._at.get(about, -1.0)
            for about in (("user", token.user_id), ("project", token.project_id or ""))
        )

    def _refresh(self) -> None:
        if time.monotonic() < self._due:
            return
        with self._lock:
            if time.monotonic() < self._due:
                return
            latest: dict[tuple[str, str], float] = {}
            for revoked in self._read():
                about = (revoked.kind, revoked.target)
                latest[about] = max(revoked.at, latest.get(about, 0.0))
            self._at = latest
            self._due = time.monotonic() + REVOCATION_SECONDS


class Tokens:
    """Makes and checks tokens with the keys of a ring: the newest signs, all verify."""

    def __init__(self, keys: KeyRing, revocations: Revocations) -> None:
        self._ring = keys
        self.revocations = revocations

    def issue(self, token: Token) -> str:
        """The text that a client shows."""
        return str(self._serializer().dumps(list(asdict(token).values())))

    def read(self, text: str) -> Token:
        """The token behind `text`. Raises Unauthorized when forged, expired or revoked."""
        token = self.look(text)
        if token is None:
            raise Unauthorized(DENIED)
        return token

    def look(self, text: str) -> Token | None:
        """The token behind `text`, or None when it is not, or no longer, good."""
        try:
            token = _token(self._serializer().loads(text))
        except (BadData, TypeError, ValueError):
            return None
        if token.expires_at <= time.time() or self.revocations.cover(token):
            return None
        return token

    def _serializer(self) -> URLSafeSerializer:
        # itsdangerous signs with the last key of its list and verifies with any.
        return URLSafeSerializer(list(reversed(self._ring.current())), salt="novella.token")


def _token(values: list[Any]) -> Token:
    made = Token(*values)
    return Token(
        **{
            **asdict(made),
            "user_domain": tuple(made.user_domain),
            "project_domain": tuple(made.project_domain),
            "roles": tuple((str(role[0]), str(role[1])) for role in made.roles),
            "methods": tuple(made.methods),
        }
    )
