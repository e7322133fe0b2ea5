"""The one map from errors to HTTP, and each service's own shape for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson
from flask import Response, request
from markupsafe import escape
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from app import errors, logs
from app.web import context

_STATUS: dict[type[errors.NovellaError], int] = {
    errors.Invalid: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.OverQuota: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Cancelled: 409,
    errors.TooLarge: 413,
    errors.Refused: 400,
    errors.Unavailable: 503,
}
_STATUS_BY_CODE = {
    "unknown_microversion": 406,
    "not_acceptable": 406,
    "unsupported_media_type": 415,
    "range_not_satisfiable": 416,
    "idempotency_mismatch": 422,
    "not_implemented": 501,
    "gone": 410,
}
_NOVA = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}


@dataclass(frozen=True)
class Problem:
    """An error on its way out."""

    status: int
    code: str
    message: str

    @property
    def title(self) -> str:
        """The status' own name."""
        return HTTP_STATUS_CODES.get(self.status, "Error")


def handle(error: Exception) -> Response:
    """Any error as the response that the service of this path gives."""
    return respond(problem_of(error))


def problem_of(error: Exception) -> Problem:
    """What a client learns of `error`: nothing of our insides when it is unexpected."""
    if isinstance(error, errors.NovellaError):
        for kind in type(error).__mro__:
            if kind in _STATUS:
                status = _STATUS_BY_CODE.get(error.code, _STATUS[kind])
                return Problem(status, error.code, _message(error))
    if isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        return _werkzeug(error)
    logs.get(__name__).error("unexpected error", path=request.path, exc_info=error)
    return Problem(
        500,
        "internal",
        f"An unexpected error prevented the server from fulfilling your request. Its log has "
        f"the details under {context.request_id()}.",
    )


def _message(error: errors.NovellaError) -> str:
    if not isinstance(error, errors.Unavailable):
        return error.message
    logs.get(__name__).warning(
        "unavailable", path=request.path, error=error.message, cause=str(error.__cause__ or "")
    )
    if error.__cause__ is None:
        return error.message
    plain = error.message.partition(":")[0]  # what follows is a driver's, and tells of our insides
    if request.method in ("GET", "HEAD"):
        return plain
    return f"{plain}; the outcome is unknown: repeat the request with the same Idempotency-Key"


def _werkzeug(error: HTTPException) -> Problem:
    status = error.code or 500
    if status == 405 and context.service() == "compute":
        status = 404  # Nova's routes know no 405
    if status == 404:
        return Problem(404, "not_found", "The resource could not be found.")
    if status == 413:
        limit = context.settings().body_limit
        return Problem(413, "too_large", f"The request's body is larger than {limit} bytes.")
    return Problem(status, (error.name or "error").lower().replace(" ", "_"), error.name)


def respond(problem: Problem) -> Response:
    """`problem` in the shape of the path's service."""
    made = _SHAPES.get(context.service(), _rfc9457)(problem)
    made.status_code = problem.status
    if problem.status == 401:
        made.headers["WWW-Authenticate"] = f'Keystone uri="{context.identity_url()}"'
    if problem.status == 503:
        made.headers["Retry-After"] = "2"
    return made


def _json(data: object, mimetype: str = "application/json") -> Response:
    return Response(orjson.dumps(data), mimetype=mimetype)


def _nova(problem: Problem) -> Response:
    body: dict[str, object] = {"code": problem.status, "message": problem.message}
    if problem.status in (413, 429):
        body["retryAfter"] = "0"
    return _json({_NOVA.get(problem.status, "computeFault"): body})


def _keystone(problem: Problem) -> Response:
    return _json(
        {"error": {"code": problem.status, "title": problem.title, "message": problem.message}}
    )


def _glance(problem: Problem) -> Response:
    # As Glance chooses; the SDK reads JSON and HTML, and shows no reason that comes as plain text.
    accepted, title = request.headers.get("Accept", "*/*"), f"{problem.status} {problem.title}"
    if "application/json" in accepted:
        return _json({"message": problem.message, "code": title, "title": problem.title})
    if "*/*" in accepted or "text/plain" in accepted:
        return Response(f"{title}\n\n{problem.message}\n", mimetype="text/plain")
    text = f"<h1>{title}</h1>\n{escape(problem.message)}\n"
    return Response(text, mimetype="text/html")


def _neutron(problem: Problem) -> Response:
    named = problem.code if problem.code[:1].isupper() else ""
    kind = named or {404: "NotFound", 409: "Conflict", 403: "PolicyNotAuthorized"}.get(
        problem.status, "HTTP" + problem.title.replace(" ", "")
    )
    return _json({"NeutronError": {"type": kind, "message": problem.message, "detail": ""}})


def _rfc9457(problem: Problem) -> Response:
    return _json(
        {
            "type": f"urn:novella:error:{problem.code}",
            "title": problem.title,
            "status": problem.status,
            "detail": problem.message,
            "code": problem.code,
            "request_id": context.request_id(),
        },
        "application/problem+json",
    )


_SHAPES: dict[str, Callable[[Problem], Response]] = {
    "compute": _nova,
    "identity": _keystone,
    "image": _glance,
    "network": _neutron,
}
