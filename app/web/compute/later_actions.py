"""Server actions that this cloud does not do yet: guarded as in Nova, then refused as Nova does
where nothing can carry them out."""

from __future__ import annotations

from typing import Any, NoReturn

from flask import Response

from app.domain import states
from app.domain.states import Kind
from app.errors import Invalid, NotFound
from app.models import Server
from app.store import flavors, servers
from app.store.database import reading
from app.web import context
from app.web.api import Route, documented
from app.web.body import BOOLEAN, NAME, Schema, body, integer, only
from app.web.compute import schemas
from app.web.compute.actions import asking, register
from app.web.compute.versions import ns
from app.web.microversions import since
from app.web.policy import require

_MIGRATING = "os_compute_api:os-migrate-server:"
_NULL = {"type": "null"}
_MOVABLE = frozenset({states.ACTIVE, states.STOPPED})
_SHELVABLE = frozenset({states.ACTIVE, states.STOPPED, states.PAUSED, states.SUSPENDED})
_RESIZED, _SHELVED = frozenset({"resized"}), frozenset({"shelved", "shelved_offloaded"})
_NOWHERE = "No valid host was found. {what} is not available in this cloud."


def _guarded(server_id: str, verb: str, vm_states: frozenset[str], busy: Any = frozenset()) -> Any:
    kind = Kind(verb, "", vm_states, None, busy=busy)
    with reading() as session:
        return servers.check(session, context.caller(), server_id, kind)


def _refuse(what: str) -> NoReturn:
    raise Invalid(_NOWHERE.format(what=what), code="no_valid_host")


RESIZE = Schema(
    "resize",
    only(
        {
            "resize": only(
                {"flavorRef": {"anyOf": [{"type": "string", "maxLength": 255}, integer(0)]}},
                {"OS-DCF:diskConfig": {"enum": ["AUTO", "MANUAL"]}},
            )
        }
    ),
)


@register("resize", "os_compute_api:servers:resize", RESIZE, answers=())
def resize(server_id: str, value: Any) -> Response:
    """Move a server to another flavor: not yet, 400."""
    ref = str(value["flavorRef"]).rstrip("/").rsplit("/", 1)[-1]
    server: Server = _guarded(server_id, "resize", _MOVABLE)
    with reading() as session:
        try:
            flavors.get(session, context.caller(), ref)
        except NotFound as error:
            raise Invalid(error.message) from error
    if ref == server.flavor_id:
        raise Invalid("When resizing, instances must change flavor!")
    _refuse("Resizing")


@register(
    "confirmResize",
    "os_compute_api:servers:confirm_resize",
    schemas.plain("confirmResize"),
    answers=(),
)
def confirm_resize(server_id: str, value: Any) -> Response:
    """Keep a server's new flavor: none has one to be confirmed, 409."""
    _guarded(server_id, "confirmResize", _RESIZED)
    _refuse("Resizing")


@register(
    "revertResize",
    "os_compute_api:servers:revert_resize",
    schemas.plain("revertResize"),
    answers=(),
)
def revert_resize(server_id: str, value: Any) -> Response:
    """Take a server's new flavor back: none has one to be reverted, 409."""
    _guarded(server_id, "revertResize", _RESIZED)
    _refuse("Resizing")


def _migration(version: tuple[int, int]) -> Schema:
    if version < (2, 56):
        return schemas.plain("migrate")
    value = {"anyOf": [_NULL, only({}, {"host": {"anyOf": [NAME, _NULL]}})]}
    return Schema("migrate2.56", only({"migrate": value}))


@register("migrate", f"{_MIGRATING}migrate", _migration, answers=())
@asking(f"{_MIGRATING}migrate:host")
def migrate(server_id: str, value: Any) -> Response:
    """Move a server to another host: not yet, 400."""
    if value and value.get("host"):
        require(f"{_MIGRATING}migrate:host")
    _guarded(server_id, "migrate", _MOVABLE)
    _refuse("Cold migration")


def _live_migration(version: tuple[int, int]) -> Schema:
    how: dict[str, Any] = {"block_migration": BOOLEAN, "host": {"anyOf": [NAME, _NULL]}}
    optional: dict[str, Any] = {}
    if version < (2, 25):
        how["disk_over_commit"] = BOOLEAN
    else:
        how["block_migration"] = {"anyOf": [BOOLEAN, {"enum": ["auto"]}]}
    if (2, 30) <= version < (2, 68):
        optional["force"] = BOOLEAN
    return Schema("os-migrateLive", only({"os-migrateLive": only(how, optional)}))


@register("os-migrateLive", f"{_MIGRATING}migrate_live", _live_migration, answers=())
@asking(f"{_MIGRATING}migrate_live:host")
def migrate_live(server_id: str, value: Any) -> Response:
    """Move a running server to another host: not yet, 400."""
    if value["host"]:
        require(f"{_MIGRATING}migrate_live:host")
    _guarded(server_id, "os-migrateLive", frozenset({states.ACTIVE, states.PAUSED}))
    _refuse("Live migration")


def _evacuation(version: tuple[int, int]) -> Schema:
    optional: dict[str, Any] = {"host": NAME, "adminPass": {"type": "string", "maxLength": 255}}
    required: dict[str, Any] = {}
    if version < (2, 14):
        required["onSharedStorage"] = BOOLEAN
    if (2, 29) <= version < (2, 68):
        optional["force"] = BOOLEAN
    return Schema("evacuate", only({"evacuate": only(required, optional)}))


@register("evacuate", "os_compute_api:os-evacuate", _evacuation, answers=())
def evacuate(server_id: str, value: Any) -> Response:
    """Rebuild a lost host's server elsewhere: not yet, 400."""
    allowed = frozenset({states.ACTIVE, states.STOPPED, states.ERROR})
    _guarded(server_id, "evacuate", allowed, busy=None)
    _refuse("Evacuation")


@register("shelve", "os_compute_api:os-shelve:shelve", schemas.plain("shelve"), answers=())
def shelve(server_id: str, value: Any) -> Response:
    """Put a server away as an image: not yet, 400."""
    _guarded(server_id, "shelve", _SHELVABLE)
    raise Invalid("Shelving is not available in this cloud.", code="not_available")


@register(
    "shelveOffload",
    "os_compute_api:os-shelve:shelve_offload",
    schemas.plain("shelveOffload"),
    answers=(),
)
def shelve_offload(server_id: str, value: Any) -> Response:
    """Take a shelved server off its host: there are none, 409."""
    _guarded(server_id, "shelveOffload", frozenset({"shelved"}))
    raise Invalid("Shelving is not available in this cloud.", code="not_available")


@register("unshelve", "os_compute_api:os-shelve:unshelve", schemas.plain("unshelve"), answers=())
def unshelve(server_id: str, value: Any) -> Response:
    """Bring a shelved server back: there are none, 409."""
    _guarded(server_id, "unshelve", _SHELVED)
    raise Invalid("Shelving is not available in this cloud.", code="not_available")


_CONSOLES = {
    "os-getVNCConsole": ("os-remote-consoles", ["novnc", "xvpvnc"]),
    "os-getSPICEConsole": ("os-remote-consoles", ["spice-html5"]),
    "os-getRDPConsole": ("os-remote-consoles", ["rdp-html5"]),
    "os-getSerialConsole": ("os-remote-consoles", ["serial"]),
}


def _no_console(server_id: str, kind: str) -> NoReturn:
    guard = Kind("console", "", None, None, busy=None, needs_host=True)
    with reading() as session:
        servers.check(session, context.caller(), server_id, guard)
    raise Invalid(f"Unavailable console type {kind}.", code="no_console")


def _console(server_id: str, value: Any) -> Response:
    """The address of a console: not yet, 400."""
    _no_console(server_id, value["type"])


for _name, (_rule, _types) in _CONSOLES.items():
    _schema = Schema(_name, only({_name: only({"type": {"enum": _types}})}))
    register(_name, f"os_compute_api:{_rule}", _schema, until=(2, 5), answers=())(_console)


REMOTE_CONSOLE = Schema(
    "remote_console",
    only(
        {
            "remote_console": only(
                {
                    "protocol": {"enum": ["vnc", "spice", "rdp", "serial", "mks"]},
                    "type": {
                        "enum": [
                            *("novnc", "xvpvnc", "spice-html5"),
                            *("rdp-html5", "serial", "webmks"),
                        ]
                    },
                }
            )
        }
    ),
)


@ns.route("/v2.1/servers/<server_id>/remote-consoles")
class RemoteConsoles(Route):
    policy = {"post": "os_compute_api:os-remote-consoles"}
    answers = {"post": ()}
    versions = since((2, 6), "post")
    keyless = "it answers where a console is and starts no work"

    @documented(ns, REMOTE_CONSOLE)
    def post(self, server_id: str) -> Response:
        """The address of a console: not yet, 400."""
        _no_console(server_id, body(REMOTE_CONSOLE)["remote_console"]["type"])
