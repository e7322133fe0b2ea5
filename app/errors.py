"""The error tree, by what a caller can do about it. HTTP numbers live in `app.web`."""


class NovellaError(Exception):
    """Base of all errors that Novella raises on purpose; `code` is stable, for programs."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class Refused(NovellaError):
    """The request cannot be granted as it stands: fix it."""

    code = "refused"


class Invalid(Refused):
    """A field is malformed or out of its limits; the message names both."""

    code = "invalid"


class NotFound(Refused):
    """No such thing, or it belongs to somebody else (a tenant cannot tell which)."""

    code = "not_found"


class Forbidden(Refused):
    """The caller's role does not allow this."""

    code = "forbidden"


class Unauthorized(Refused):
    """No valid token or password came with the request."""

    code = "unauthorized"


class OverQuota(Refused):
    """The project's quota does not cover the request; the message names the quota."""

    code = "over_quota"


class TooLarge(Refused):
    """A body, file or value is over its limit."""

    code = "too_large"


class Conflict(NovellaError):
    """Not now: the state or another request stands in the way."""

    code = "conflict"


class Unavailable(NovellaError):
    """A part that is needed is away; the same request may work later."""

    code = "unavailable"


class HostFault(NovellaError):
    """A hypervisor could not do it; `retriable` says whether another host may."""

    code = "host_fault"

    def __init__(self, message: str, *, code: str | None = None, retriable: bool = True) -> None:
        super().__init__(message, code=code)
        self.retriable = retriable


class Cancelled(NovellaError):
    """A newer request for the same server took over while this one ran."""

    code = "cancelled"


class Bug(NovellaError):
    """Something that cannot happen did."""

    code = "bug"
