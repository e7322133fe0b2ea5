"""keystonemiddleware's auth_token, asked about one request at a time.

It is called as the WSGI middleware that it is, with a request of its own that has the tokens,
method and path of ours: so only routes that need a token are held up, and refusals leave in the
words of our services. Imported only where a Keystone is configured: the package is an extra.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from typing import Any, cast

from keystoneauth1 import exceptions as keystone_errors
from keystoneauth1 import loading
from keystonemiddleware import auth_token
from oslo_config import cfg
from webob.exc import HTTPServiceUnavailable

from app import logs
from app.config import Settings
from app.errors import Unauthorized, Unavailable
from app.web.identity.tokens import DENIED
from app.web.keystone import access, configured
from app.web.keystone.asked import Asked
from app.web.keystone.patience import Away

Json = dict[str, Any]
NAME = "Keystone"
_GROUP = "keystone_authtoken"
_CACHE = "novella.no_cache"
_PLUGIN = "v3password"
_CANNOT = f"{NAME} cannot be asked about the token; try again"
_ALL_THE_SAME = (401, 408, 429)
"""Refusals below 500 that are not about whom we ask about: our own login, slowness, too many."""
# By whose catalog type access rules of application credentials know our services.
_TYPES = {"compute": "compute", "image": "image", "network": "network"}


class _NoCache:
    """Keeps nothing: `remembering` does, where it knows what may be kept."""

    def get(self, key: str) -> None:
        """Nothing is there."""

    def set(self, key: str, value: object, time: int = 0) -> None:
        """Nothing is kept."""


class _Protocol(auth_token.AuthProtocol):
    """Checks tokens; `access` judges their rules, and what failed is told in full."""

    def validate_allowed_request(self, request: Any, token: Any) -> None:
        """Nothing is refused here: whether the token is good comes first."""

    def fetch_token(self, token: str, **more: Any) -> Any:
        """What Keystone says of a token. Raises Away; Unavailable when it did not like this one."""
        try:
            return super().fetch_token(token, **more)
        except (HTTPServiceUnavailable, keystone_errors.ClientException) as error:
            raise _told(error) from None


class Middleware:
    """One auth_token for each kind of service, made at first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()

    def document(self, asked: Asked) -> Json:
        """What Keystone says of the token.

        Raises Unauthorized, Away without an answer, and Unavailable for one that is not understood.
        """
        environ = _environ(asked)
        try:
            status = self._call(self._of(asked.service), environ)
        except keystone_errors.ClientException as error:
            raise _told(error) from None
        except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
            # It reads answers without looking whether they are Keystone's.
            raise _unavailable(error) from None
        if status == 401:
            raise Unauthorized(DENIED)
        if status != 204:
            raise _unavailable(f"auth_token answered {status}")
        document = cast(Json, environ["keystone.token_info"]["token"])
        if not access.allow(document, _TYPES.get(asked.service, ""), asked):
            raise Unauthorized(DENIED)
        return document

    def _of(self, service: str) -> Any:
        kind = _TYPES.get(service, "")
        with self._lock:
            if kind not in self._made:
                self._made[kind] = _Protocol(_let_in, self._conf(kind))
            return self._made[kind]

    @staticmethod
    def _call(protocol: Any, environ: Json) -> int:
        statuses: list[str] = []

        def start_response(status: str, headers: object, exc_info: object = None) -> None:
            statuses.append(status)

        for _ in protocol(environ, start_response):
            pass
        return int(statuses[-1].split()[0])

    def _conf(self, kind: str) -> Json:
        conf, ours = cfg.ConfigOpts(), self._settings
        conf([], default_config_files=[], default_config_dirs=[])
        for group, options in auth_token.list_opts():
            conf.register_opts(options, group=group)
        conf.register_opts(loading.get_auth_plugin_conf_options(_PLUGIN), group=_GROUP)
        values = {
            "auth_type": _PLUGIN,
            "auth_version": "v3",
            "auth_url": configured.v3(ours.keystone_url),
            "www_authenticate_uri": configured.clients_url(ours),
            "username": ours.keystone_user,
            "password": ours.keystone_password,
            "user_domain_name": ours.keystone_user_domain,
            "project_name": ours.keystone_project,
            "project_domain_name": ours.keystone_project_domain,
            "interface": ours.keystone_interface,
            "region_name": ours.keystone_region or None,
            "cafile": str(ours.keystone_ca) if ours.keystone_ca else None,
            "http_connect_timeout": max(1, math.ceil(ours.keystone_timeout)),
            # A connection that Keystone has just closed is no reason to refuse anybody.
            "http_request_max_retries": 1,
            # Else anybody's own token would do as a service's.
            "service_token_roles_required": True,
            "service_type": kind or None,
            "cache": _CACHE,
        }
        for name, value in values.items():
            conf.set_override(name, value, group=_GROUP)
        return {"oslo_config_config": conf}


def _environ(asked: Asked) -> Json:
    made: Json = {
        "REQUEST_METHOD": asked.method,
        "SCRIPT_NAME": "",
        # WSGI's texts are bytes in disguise.
        "PATH_INFO": asked.path.encode("utf-8", "replace").decode("latin-1"),
        "QUERY_STRING": "",
        "SERVER_NAME": "novella",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "HTTP_X_AUTH_TOKEN": asked.token,
        _CACHE: _NoCache(),
    }
    return made | ({"HTTP_X_SERVICE_TOKEN": asked.service_token} if asked.service_token else {})


def _let_in(environ: Json, start_response: Any) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


def _told(error: BaseException) -> Unavailable:
    """Whether Keystone is away, or did not like what one caller sent, by what led to the error."""
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in chain:
        chain.append(step)
        step = step.__cause__ or step.__context__
    answers = [one.http_status for one in chain if isinstance(one, keystone_errors.HttpError)]
    if answers and answers[0] < 500 and answers[0] not in _ALL_THE_SAME:
        return _unavailable(f"status {answers[0]}")
    _warn(chain[-1])
    return Away(_CANNOT)


def _unavailable(why: object) -> Unavailable:
    _warn(why)
    return Unavailable(_CANNOT)


def _warn(why: object) -> None:
    logs.get(__name__).warning("no token can be checked", cause=str(why)[:500])
