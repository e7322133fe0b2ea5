"""Tokens: signed, self-contained, verified without a query; revocations are read every 2 s."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from app.domain.caller import Caller
from app.errors import Unauthorized
from app.images.keys import load_keys
from app.store.revocations import SYSTEM, grant_key

REVOCATION_SECONDS = 2.0
KEY_SECONDS = 5.0
DENIED = "The request you have made requires authentication."
_NONE = float("-inf")


@dataclass(frozen=True)
class Token:
    """Who may act for which project until when. Times are seconds since the epoch.

    `project_id` is None for a token that is unscoped or `is_system`; `roles` are pairs of id and
    name. `seen` is when the user, the project and the user's roles there had last been revoked
    (see `app.store.revocations`). `chain` is the id of the first of the tokens that this one came
    from. `credential` is the application credential behind it: id, name, whether unrestricted.
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
    is_system: bool = False
    seen: tuple[float, float, float] = (-1.0, -1.0, -1.0)
    chain: str = ""
    credential: tuple[str, str, bool] | None = None

    @property
    def is_restricted(self) -> bool:
        """Whether it may not make or remove application credentials."""
        return self.credential is not None and not self.credential[2]

    @property
    def target_id(self) -> str:
        """What its roles are on: the project, SYSTEM, or nothing."""
        return SYSTEM if self.is_system else self.project_id or ""

    def subjects(self) -> Iterator[tuple[str, str, float]]:
        """What may be revoked under it: kind, target, and the newest revocation that is known."""
        yield "token", self.id, _NONE
        yield "user", self.user_id, self.seen[0]
        yield "project", self.project_id or "", self.seen[1]
        yield "grant", grant_key(self.user_id, self.target_id), self.seen[2]
        if self.credential is not None:
            yield "application_credential", self.credential[0], _NONE

    def caller(self, request_id: str) -> Caller:
        """The same as the rest of the program knows it."""
        return Caller(
            user_id=self.user_id,
            project_id=self.project_id or "",
            roles=frozenset(name for _, name in self.roles),
            request_id=request_id,
            user_name=self.user_name,
            project_name=self.project_name,
            is_system=self.is_system,
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
    """One revocation: of all tokens about the target whose makers had not seen one of `at`."""

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

    def expire(self) -> None:
        """Read anew before the next answer: this process has written some, or must be sure."""
        with self._lock:
            self._due = 0.0

    def cover(self, token: Token) -> bool:
        """Whether `token` is revoked."""
        self._refresh()
        return any(
            self._at.get((kind, target), _NONE) > seen for kind, target, seen in token.subjects()
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
    """Makes and checks tokens with the keys of a ring: the newest signs, all verify.

    None is good for more than `longest` seconds, also when it was made to last longer: its
    revocation is forgotten by then.
    """

    def __init__(
        self, keys: KeyRing, revocations: Revocations, longest: float = float("inf")
    ) -> None:
        self._ring = keys
        self._longest = longest
        self.revocations = revocations

    def issue(self, token: Token) -> str:
        """The text that a client shows."""
        return str(self._serializer().dumps(list(asdict(token).values())))

    def read(self, text: str, *, fresh: bool = False) -> Token:
        """The token behind `text`. Raises Unauthorized when forged, expired or revoked.

        `fresh`: also when it was revoked a moment ago, by another process.
        """
        if fresh:
            self.revocations.expire()
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
        ends = min(token.expires_at, token.issued_at + self._longest)
        if ends <= time.time() or self.revocations.cover(token):
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
            "seen": tuple(made.seen),
            "credential": None if made.credential is None else tuple(made.credential),
        }
    )
