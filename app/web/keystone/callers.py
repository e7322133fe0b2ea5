"""Who asks, by a Keystone: remembered for some seconds, and with rows of ours to refer to."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from datetime import datetime
from typing import Any

from app.config import Settings
from app.errors import Unauthorized, Unavailable
from app.store import shadows
from app.store.database import reading, transaction
from app.store.shadows import Kind, Shadow
from app.web.identity.tokens import DENIED, Token
from app.web.keystone.asked import Asked
from app.web.keystone.lookup import Lookup
from app.web.keystone.middleware import NAME, Middleware
from app.web.keystone.patience import Patience

Json = dict[str, Any]
AT_ONCE = 10
"""Connections to Keystone: as many as keystoneauth keeps open."""
REMEMBERED = 10_000
"""Tokens, and shadows, that one process keeps in mind."""
# What Keystone need not be asked about; a header that it could not take is no reason for a 503.
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")


class Keystone:
    """The operator's Keystone, as this process asks it."""

    def __init__(self, settings: Settings) -> None:
        # Half of the threads always remain for requests that do not ask.
        waiting = max(1, settings.web_threads // 2)
        self._patience = Patience(NAME, settings.keystone_timeout, AT_ONCE, waiting)
        self._middleware = Middleware(settings)
        self._lookup = Lookup(settings)
        self._remembered = Remembered(settings.keystone_cache_seconds)
        self._met: dict[Shadow, None] = {}

    def token(self, asked: Asked) -> Token:
        """The token that came with a request.

        Raises Unauthorized for one that is not, or no longer, good, and Unavailable when Keystone
        does not say so in time.
        """
        for text in (asked.token, asked.service_token or asked.token):
            if not _TOKEN.fullmatch(text):
                raise Unauthorized(DENIED)
        plain = not asked.service_token
        if plain and (known := self._remembered.get(asked.token)):
            return known
        document = self._patience.run(lambda: self._middleware.document(asked))
        token, people = read(document)
        self.meet(people)
        # Access rules are about each request anew.
        if plain and (document.get("application_credential") or {}).get("access_rules") is None:
            self._remembered.put(asked.token, token)
        return token

    def ask(self, kind: Kind, id_: str, token: str) -> None:
        """Learn of a project or a user, in the name of who holds `token`, if there is one."""
        found = self._patience.run(lambda: self._lookup.find(kind, id_, token))
        if found is not None:
            self.meet([found])

    def meet(self, people: list[Shadow]) -> None:
        """See that there are rows for them, by their names of now."""
        new = [one for one in people if one not in self._met]
        if not new:
            return
        with reading() as session:
            missing = [one for one in new if not shadows.is_kept(session, one)]
        for one in missing:
            # Each by itself: two requests that make the same rows never wait for each other.
            with transaction() as session:
                shadows.keep(session, one)
        if len(self._met) >= REMEMBERED:
            self._met = {}
        self._met.update(dict.fromkeys(new))


class Remembered:
    """Tokens that were found good within the last `seconds`; not the texts, but their digests."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._kept: dict[bytes, tuple[float, Token]] = {}

    def get(self, text: str) -> Token | None:
        """The token, if it is still to be believed."""
        until, token = self._kept.get(_digest(text), (0.0, None))
        if token is None or time.monotonic() >= until or time.time() >= token.expires_at:
            return None
        return token

    def put(self, text: str, token: Token) -> None:
        """Believe it from now on; the oldest are forgotten first."""
        key, until = _digest(text), time.monotonic() + self._seconds
        with self._lock:
            self._kept.pop(key, None)
            while len(self._kept) >= REMEMBERED:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = (until, token)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def read(document: Json) -> tuple[Token, list[Shadow]]:
    """Keystone's document of a token as ours, and the people and places that it is about.

    Raises Unavailable when it is no such document.
    """
    try:
        user, project = Shadow.of_user(document["user"]), None
        if document.get("project"):
            project = Shadow.of_project(document["project"])
        people = [user] if project is None else [user, project]
        return _token(document, user, project), people
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unavailable(f"{NAME} described the token in a way that is not understood") from error


def _token(document: Json, user: Shadow, project: Shadow | None) -> Token:
    audit = document.get("audit_ids") or [""]
    return Token(
        id=str(audit[0]),
        user_id=user.id,
        user_name=user.name,
        user_domain=user.domain,
        project_id=project.id if project else None,
        project_name=project.name if project else "",
        project_domain=project.domain if project else ("", ""),
        roles=tuple((str(one["id"]), str(one["name"])) for one in document.get("roles") or ()),
        methods=tuple(document.get("methods") or ()),
        issued_at=datetime.fromisoformat(document["issued_at"]).timestamp(),
        expires_at=datetime.fromisoformat(document["expires_at"]).timestamp(),
        is_system=bool((document.get("system") or {}).get("all")),
    )
