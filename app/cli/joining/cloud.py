"""The cloud that is to be joined, over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests

from app.broker import AWAY, Probe
from app.cli.api import why_unreachable
from app.errors import Conflict, Invalid, NovellaError, Unauthorized, Unavailable
from app.joining import is_loopback
from app.redaction import redact_text

SECONDS = 15.0
BROKER_SECONDS = 5.0
_ERRORS: dict[int, type[NovellaError]] = {
    400: Invalid,
    401: Unauthorized,
    409: Conflict,
    503: Unavailable,
}


@dataclass(frozen=True)
class Told:
    """What the cloud told a machine that it let in."""

    cloud_id: str
    broker_url: str = field(repr=False)
    result_url: str = field(repr=False)
    settings: dict[str, Any]


@dataclass(frozen=True)
class Door:
    """Where machines join: the API's URL, the token, and the CA certificates to trust."""

    url: str
    token: str = field(repr=False)
    verify: bool | str = True

    def join(self, name: str, uuid: str, known: bool) -> Told:
        """Ask to be the host `name`. Raises Unauthorized, Conflict, Invalid, Unavailable."""
        data = self._post("join", name, uuid, url=self.url, known=known)
        try:
            told = Told(data["cloud_id"], data["broker_url"], data["result_url"], data["settings"])
        except (KeyError, TypeError) as error:
            raise NovellaError(f"{self.url} answered, but not as a Novella cloud does") from error
        require_broker(told.broker_url)
        if told.result_url:
            require_broker(told.result_url)
        return told

    def standing(self, name: str, uuid: str) -> str:
        """The host's state as the cloud sees it. Raises like `join`."""
        return str(self._post("standing", name, uuid).get("state"))

    def _post(self, what: str, name: str, uuid: str, **more: Any) -> dict[str, Any]:
        body = {"token": self.token, "name": name, "uuid": uuid, **more}
        with requests.Session() as session:
            session.trust_env = not is_loopback(urlsplit(self.url).hostname)
            try:
                answer = session.post(
                    f"{self.url}/v1/hosts/{what}",
                    json=body,
                    timeout=SECONDS,
                    verify=self.verify,
                    allow_redirects=False,  # they would turn the POST into a GET
                )
            except requests.RequestException as error:
                raise Unavailable(f"--cloud {self.url}: {why_unreachable(error)}") from error
        return self._checked(answer)

    def _checked(self, answer: requests.Response) -> dict[str, Any]:
        try:
            data = answer.json()
        except ValueError:
            data = None
        if answer.status_code == 200 and isinstance(data, dict):
            return data
        detail = data.get("detail") if isinstance(data, dict) else None
        if not isinstance(detail, str):
            where = answer.headers.get("Location")
            more = f" (it redirects to {where})" if where else ""
            raise NovellaError(
                f"--cloud {self.url}: answered {answer.status_code}, and not as a Novella cloud "
                f"does: give the URL that `novella host token` prints{more}"
            )
        kind = _ERRORS.get(answer.status_code, NovellaError)
        raise kind(f"the cloud says: {detail}")


def require_broker(url: str) -> None:
    """Raises Unavailable when that broker cannot be used from here."""
    where = redact_text(url)
    try:
        probe = Probe(url, BROKER_SECONDS)
        try:
            probe.ping()
        finally:
            probe.close()
    except (*AWAY, Invalid, ValueError) as error:
        raise Unavailable(
            f"the cloud's broker at {where} cannot be used from here ({redact_text(str(error))}): "
            "open that port for this machine, or set the cloud's broker_url to one that it reaches"
        ) from error
