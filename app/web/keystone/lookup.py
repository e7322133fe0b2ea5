"""Projects and users that nobody has come from yet, asked for at Keystone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import requests

from app import logs
from app.config import Settings
from app.errors import Forbidden, Unavailable
from app.models import Project, User
from app.store.shadows import Kind, Shadow
from app.web.keystone import configured

Json = dict[str, Any]
_READ: dict[Kind, Callable[[Json], Shadow]] = {Project: Shadow.of_project, User: Shadow.of_user}
_PATHS: dict[Kind, str] = {Project: "project", User: "user"}
NAME = "Keystone"


class Lookup:
    """Asks in the name of who asks us: what Keystone hides from them stays hidden."""

    def __init__(self, settings: Settings) -> None:
        self._root = configured.v3(settings.keystone_url)
        self._seconds = settings.keystone_timeout
        self._verify = str(settings.keystone_ca) if settings.keystone_ca else True

    def find(self, kind: Kind, id_: str, token: str) -> Shadow | None:
        """The project or user, or None when there is none. Raises Forbidden, Unavailable."""
        name = _PATHS[kind]
        try:
            answer = requests.get(
                f"{self._root}/{name}s/{quote(id_, safe='')}",
                headers={"X-Auth-Token": token, "Accept": "application/json"},
                timeout=self._seconds,
                verify=self._verify,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise _unavailable(error) from None
        if answer.status_code == 404:
            return None
        if answer.status_code in (401, 403):
            raise Forbidden(f"{NAME} does not let you see the {name} {id_}.")
        if answer.status_code != 200:
            raise _unavailable(f"status {answer.status_code}")
        return self._read(kind, answer)

    @staticmethod
    def _read(kind: Kind, answer: requests.Response) -> Shadow:
        try:
            found: Json = answer.json()[_PATHS[kind]]
            # Such documents name no domain; its name is learned from the first token.
            return _READ[kind]({**found, "domain": {"id": found["domain_id"]}})
        except (ValueError, KeyError, TypeError) as error:
            raise _unavailable(error) from None


def _unavailable(why: object) -> Unavailable:
    logs.get(__name__).warning("nothing can be looked up", cause=str(why)[:500])
    return Unavailable(f"{NAME} cannot be asked; try again")
