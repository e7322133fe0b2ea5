"""Projects and users that nobody has come from yet, asked for at Keystone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import requests

from app import logs
from app.config import Settings
from app.errors import Forbidden, Unavailable
from app.models import Project, User
from app.store.shadows import Kind, Shadow
from app.web.keystone import configured
from app.web.keystone.patience import Away

Json = dict[str, Any]
_READ: dict[Kind, Callable[[Json], Shadow]] = {Project: Shadow.of_project, User: Shadow.of_user}
_PATHS: dict[Kind, str] = {Project: "project", User: "user"}
NAME = "Keystone"
# What Keystone gives out; others, such as "..", would make the address one of something else.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_GAVE_UP = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


class Lookup:
    """Asks in the name of who asks us: what Keystone hides from them stays hidden."""

    def __init__(self, settings: Settings) -> None:
        self._root = configured.v3(settings.keystone_url)
        self._seconds = settings.keystone_timeout
        self._verify = str(settings.keystone_ca) if settings.keystone_ca else True

    def find(self, kind: Kind, id_: str, token: str) -> Shadow | None:
        """The project or user, or None when there is none.

        Raises Forbidden, Away, and Unavailable for an answer that is none.
        """
        if not _ID.fullmatch(id_):
            return None
        name = _PATHS[kind]
        try:
            answer = requests.get(
                f"{self._root}/{name}s/{id_}",
                headers={"X-Auth-Token": token, "Accept": "application/json"},
                timeout=self._seconds,
                verify=self._verify,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise _unavailable(error, away=isinstance(error, _GAVE_UP)) from None
        if answer.status_code == 404:
            return None
        if answer.status_code in (401, 403):
            raise Forbidden(f"{NAME} does not let you see the {name} {id_}.")
        status = answer.status_code
        if status != 200:
            raise _unavailable(f"status {status}", away=status >= 500 or status == 429)
        return self._read(kind, answer)

    @staticmethod
    def _read(kind: Kind, answer: requests.Response) -> Shadow:
        try:
            found: Json = answer.json()[_PATHS[kind]]
            # Such documents name no domain; its name is learned from the first token.
            return _READ[kind]({**found, "domain": {"id": found["domain_id"]}})
        except (ValueError, KeyError, TypeError) as error:
            raise _unavailable(error) from None


def _unavailable(why: object, away: bool = False) -> Unavailable:
    logs.get(__name__).warning("nothing can be looked up", cause=str(why)[:500])
    return (Away if away else Unavailable)(f"{NAME} cannot be asked; try again")
