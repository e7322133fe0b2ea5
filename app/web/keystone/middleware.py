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

from app import logs
from app.config import Settings
from app.errors import Unauthorized, Unavailable
from app.web.identity.tokens import DENIED
from app.web.keystone import configured
from app.web.keystone.asked import Asked

Json = dict[str, Any]
NAME = "Keystone"
_GROUP = "keystone_authtoken"
_CACHE = "novella.no_cache"
_PLUGIN = "v3password"
# By whose catalog type access rules of application credentials know our services.
_TYPES = {"compute": "compute", "image": "image", "network": "network"}


class _NoCache:
    """Keeps nothing: `remembering` does, where it knows what may be kept."""

    def get(self, key: str) -> None:
        """Nothing is there."""

    def set(self, key: str, value: object, time: int = 0) -> None:
        """Nothing is kept."""


class Middleware:
    """One auth_token for each kind of service, made at first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()

    def document(self, asked: Asked) -> Json:
        """What Keystone says of the token. Raises Unauthorized, and Unavailable without answer."""
        environ = _environ(asked)
        try:
            status = self._call(self._of(asked.service), environ)
        except keystone_errors.ClientException as error:
            raise _unavailable(error) from None
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            # It reads answers without looking whether they are Keystone's.
            raise _unavailable(error) from None
        if status == 401:
            raise Unauthorized(DENIED)
        if status != 204:
            raise _unavailable(f"auth_token answered {status}")
        return cast(Json, environ["keystone.token_info"]["token"])

    def _of(self, service: str) -> Any:
        kind = _TYPES.get(service, "")
        with self._lock:
            if kind not in self._made:
                self._made[kind] = auth_token.AuthProtocol(_let_in, self._conf(kind))
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
        "PATH_INFO": asked.path,
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


def _unavailable(why: object) -> Unavailable:
    logs.get(__name__).warning("no token can be checked", cause=str(why)[:500])
    return Unavailable(f"{NAME} cannot be asked about the token; try again")
