"""What every request passes, in order: id, size, microversion, token. Nova's paste pipeline."""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import replace
from typing import Any

from flask import Flask, Response, current_app, g, request

from app import logs
from app.errors import Forbidden, Invalid, NotFound, TooLarge, Unauthorized
from app.web import connection, context, microversions, noauth, policy
from app.web.compute import ranges
from app.web.identity.tokens import DENIED, Token
from app.web.keystone.asked import Asked

_GLOBAL_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# A collection's path with a slash at its end names a thing without an id, which is nowhere.
_EMPTY_ID = re.compile(r"/compute/v2(\.1)?/.+/")
SERVICES = frozenset({"identity", "compute", "image", "network", "v1"})


def install(app: Flask) -> None:
    """Hang the filters into `app`."""
    for before in (_identify, _limit, _authenticate, _negotiate):
        app.before_request(before)
    app.after_request(_finish)
    app.teardown_request(_forget)


def _identify() -> None:
    g.request_id = f"req-{uuid.uuid4()}"
    g.started = time.monotonic()
    connection.patience(connection.PATIENCE_SECONDS)
    logs.bind(request_id=g.request_id)
    given = request.headers.get("X-Openstack-Request-Id", "")
    if _GLOBAL_ID.fullmatch(given):
        logs.bind(global_request_id=given)


def _limit() -> None:
    # PostgreSQL refuses NUL in text: no name, id or filter can hold one.
    if "\0" in request.path or any("\0" in text for pair in request.args.items() for text in pair):
        raise Invalid("the request's address contains a NUL character")
    if getattr(_view(), "streams_body", False):
        return
    limit = context.settings().body_limit
    # One more, for the stream just stops there: `body.raw` sees that it is too long.
    request.max_content_length = limit + 1
    if (request.content_length or 0) > limit:
        raise TooLarge(f"The request's body is larger than {limit} bytes.")


def _authenticate() -> None:
    view = _view()
    if context.service() not in SERVICES or request.url_rule is None:
        return  # nothing of a project's, or a 404 whoever asks
    if context.service() == "identity" and not getattr(view, "public", False):
        _own_identity()
    if getattr(view, "public", False) or request.method in getattr(view, "public_methods", ()):
        return
    if getattr(view, "takes_image_token", False) and _bearer() is not None:
        return  # the resource checks it: it is good for one image only
    g.token = _token()
    context.web().judge.refresh()
    caller = g.token.caller(context.request_id())
    g.caller = replace(caller, administers=policy.is_admin(caller), holding=policy.hold)
    logs.bind(project_id=g.caller.project_id, user_id=g.caller.user_id)
    if not g.caller.project_id and context.service() != "identity":
        raise Forbidden(
            "This needs a token that is scoped to a project, not to the system or none."
        )
    policy.enforce(view)


def _own_identity() -> None:
    if context.settings().auth == "keystone":
        raise NotFound(f"Identity is not served here, but by Keystone at {context.identity_url()}.")


def _token() -> Token:
    if context.settings().auth == "noauth":
        return noauth.token()
    text = request.headers.get("X-Auth-Token", "").strip()
    if not text:
        raise Unauthorized(DENIED)
    keystone = context.web().keystone
    if keystone is None:
        return context.web().tokens.read(text)
    service = context.service()
    path = request.path.removeprefix(f"/{service}")
    serves_for = request.headers.get("X-Service-Token", "").strip()
    return keystone.token(Asked(text, service, request.method, path, serves_for))


def _bearer() -> str | None:
    given = request.authorization
    return given.token if given is not None and given.type == "bearer" else None


def _negotiate() -> None:
    if context.service() == "compute":
        g.version = microversions.asked_for(request.headers)
        if _EMPTY_ID.fullmatch(request.path):
            raise NotFound("The resource could not be found.")
        ranges.refuse_queries(_view())


def _view() -> Any:
    function = current_app.view_functions.get(request.endpoint or "")
    return getattr(function, "view_class", None)


def _finish(response: Response) -> Response:
    response.headers["x-openstack-request-id"] = context.request_id()
    response.headers["X-Content-Type-Options"] = "nosniff"
    if context.service() == "compute":
        response.headers["x-compute-request-id"] = context.request_id()
        microversions.echo(response.headers, context.version())
    if request.path not in ("/healthz", "/readyz", "/metrics"):
        taken = time.monotonic() - g.get("started", time.monotonic())
        logs.get("app.web.access").info(
            "request",
            method=request.method,
            path=request.path,
            status=response.status_code,
            ms=round(taken * 1000, 1),
        )
    return response


def _forget(error: BaseException | None) -> None:
    logs.clear()
