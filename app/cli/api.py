"""The cloud over HTTP, as the user of a `clouds.yaml` entry."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import requests
import yaml

from app.config import settings
from app.errors import Forbidden, Invalid, NotFound, NovellaError, Unauthorized, Unavailable

SECONDS = 30.0
_BY_STATUS = {401: Unauthorized, 403: Forbidden, 404: NotFound, 503: Unavailable}


@dataclass(frozen=True)
class Credentials:
    """One entry of a clouds.yaml file."""

    auth_url: str
    auth: dict[str, str] = field(repr=False)
    verify: bool | str = True
    region: str = ""
    interface: str = "public"
    compute_url: str = ""

    @property
    def identity(self) -> str:
        """Where tokens are made: our own Identity, or a Keystone; without a version."""
        return self.auth_url.rstrip("/").removesuffix("/v3")

    @property
    def root(self) -> str:
        """The cloud's root URL, under which /compute, /image and /v1 are; empty when only a
        Keystone's catalog knows it."""
        if self.compute_url:
            return root_of(self.compute_url)
        found = self.identity.removesuffix("/identity")
        return "" if found == self.identity else found


def root_of(compute_url: str) -> str:
    """The cloud's root URL, by the address of its Compute."""
    return re.sub(r"/compute(/v2(\.1)?)?/?$", "", compute_url)


def credentials(cloud: str | None, files: Iterable[Path] | None = None) -> Credentials:
    """The entry `cloud` (else OS_CLOUD, else `novella`) of the first clouds.yaml that has it.

    Raises Invalid when there is none.
    """
    name = cloud or os.environ.get("OS_CLOUD") or "novella"
    looked = [path for path in (files or _files()) if path.is_file()]
    for path in looked:
        try:
            clouds = (yaml.safe_load(path.read_text()) or {}).get("clouds") or {}
        except (OSError, yaml.YAMLError, AttributeError) as error:
            raise Invalid(f"{path} cannot be read: {error}") from error
        if name in clouds:
            return _entry(path, name, clouds[name])
    places = ", ".join(map(str, looked)) or "no clouds.yaml found"
    raise Invalid(f"no cloud {name!r} ({places}); give --cloud, or set OS_CLIENT_CONFIG_FILE")


def _files() -> list[Path]:
    named = os.environ.get("OS_CLIENT_CONFIG_FILE")
    return [
        *([Path(named)] if named else []),
        Path("clouds.yaml"),
        settings().path("clouds.yaml"),
        Path.home() / ".config/openstack/clouds.yaml",
        Path("/etc/openstack/clouds.yaml"),
    ]


def _entry(path: Path, name: str, entry: dict[str, Any]) -> Credentials:
    auth = entry.get("auth") or {}
    if missing := {"auth_url", "username", "password", "project_name"} - set(auth):
        raise Invalid(f"{path}: cloud {name!r} has no auth.{', auth.'.join(sorted(missing))}")
    # As OpenStack's clients read it: `verify: false` wins, else `cacert` is the CA bundle.
    verify = entry.get("verify", True)
    return Credentials(
        auth["auth_url"],
        auth,
        verify and (entry.get("cacert") or True),
        region=str(entry.get("region_name") or ""),
        interface=str(entry.get("interface") or "public"),
        compute_url=str(entry.get("compute_endpoint_override") or ""),
    )


class Api:
    """A session with a token that is renewed when it has run out."""

    def __init__(self, who: Credentials) -> None:
        self._who, self._root = who, who.root
        self._session = requests.Session()
        self._session.trust_env = urlsplit(who.auth_url).hostname not in ("127.0.0.1", "localhost")
        self._session.verify = who.verify

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        """GET a path under the root; 304 is an answer too."""
        return self.call("GET", path, **kwargs)

    def call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Send with a token. Raises an error of ours for an answer of 400 or more."""
        if "X-Auth-Token" not in self._session.headers:
            self._log_in()
        response = self._send(method, path, **kwargs)
        if response.status_code == 401:
            self._log_in()
            response = self._send(method, path, **kwargs)
        return _checked(response, f"{method} {path}")

    def upload(self, path: str, data: IO[bytes], timeout: float) -> None:
        """PUT a file's bytes."""
        self._log_in()  # fresh, because a file cannot be sent twice
        headers = {"Content-Type": "application/octet-stream"}
        response = self._send("PUT", path, data=data, headers=headers, timeout=timeout)
        _checked(response, f"PUT {path}")

    def _log_in(self) -> None:
        auth = self._who.auth
        user = {
            "name": auth["username"],
            "password": auth["password"],
            "domain": {"name": auth.get("user_domain_name", "Default")},
        }
        project = {
            "name": auth["project_name"],
            "domain": {"name": auth.get("project_domain_name", "Default")},
        }
        body = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": project},
            }
        }
        self._session.headers.pop("X-Auth-Token", None)
        response = self._ask("POST", self._who.identity, "/v3/auth/tokens", json=body)
        _checked(response, f"logging in as {auth['username']}")
        self._root = self._root or self._from_catalog(response.json())
        self._session.headers["X-Auth-Token"] = response.headers["X-Subject-Token"]

    def _from_catalog(self, document: dict[str, Any]) -> str:
        """The cloud's root URL in a Keystone's catalog."""
        for service in document["token"].get("catalog", ()):
            for one in service["endpoints"] if service["type"] == "compute" else ():
                if one["interface"] == self._who.interface and (
                    self._who.region in ("", one.get("region"))
                ):
                    return root_of(one["url"])
        raise Invalid(
            f"{self._who.auth_url}: the catalog has no {self._who.interface} endpoint of a compute "
            "service in this region; set compute_endpoint_override in clouds.yaml"
        )

    def _send(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        return self._ask(method, self._root, path, **kwargs)

    def _ask(
        self, method: str, root: str, path: str, timeout: float = SECONDS, **kwargs: Any
    ) -> requests.Response:
        try:
            return self._session.request(method, root + path, timeout=timeout, **kwargs)
        except requests.RequestException as error:
            raise Unavailable(f"{self._root or root}: {why_unreachable(error)}") from error


def why_unreachable(error: requests.RequestException) -> str:
    """Why no answer came, in a few words."""
    if isinstance(error, requests.exceptions.SSLError):
        return f"its certificate is not trusted or no TLS is spoken there ({_cause(error)})"
    reason = "no answer in time" if isinstance(error, requests.Timeout) else "no connection"
    return f"{reason}; is the cloud up? (bin/up --status)"


def _cause(error: BaseException) -> str:
    """The innermost words: TLS' own."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    return str(getattr(error, "reason", None) or error)[:200]


def _checked(response: requests.Response, what: str) -> requests.Response:
    if response.status_code < 400:
        return response
    kind = _BY_STATUS.get(response.status_code, NovellaError)
    raise kind(f"{what}: {response.status_code} {_message(response)}")


def _message(response: requests.Response) -> str:
    """What an error answer says, in whichever of the services' shapes it comes."""
    try:
        body = response.json()
    except ValueError:
        return response.text.strip()[:300]
    if isinstance(body, dict):
        for part in [body, *body.values()]:
            if isinstance(part, dict):
                for key in ("message", "detail", "title"):
                    if isinstance(part.get(key), str):
                        return str(part[key])
    return str(body)[:300]
