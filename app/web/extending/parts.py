"""What another package can add: server actions, resources, fields of servers, and their rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask_restx import Namespace
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.errors import Bug
from app.models import Action as Accepted
from app.models import Server
from app.store import servers
from app.web import microversions
from app.web.api import Route, documented
from app.web.body import Schema

Version = tuple[int, int]
STARTED = frozenset(
    ("start", "stop", "reboot", "hard_reboot", "pause", "unpause", "suspend", "resume")
    + ("unrescue", "trigger_crash_dump", "delete")
)
"""Workflows that an action can ask for: those that need to be told nothing but the server."""
SHAPES = Namespace("extensions", "What other packages add", path="/compute")
"""Holds the bodies that other packages' routes document; the routes come to it by `loading`."""


def takes(schema: Schema) -> Any:
    """Say that a method of a Route takes a body of this schema; it still reads it by `body`."""
    return documented(SHAPES, schema)


@dataclass(frozen=True)
class Rule:
    """A policy rule: `name` as `package:what`, `check` its default in oslo.policy's words."""

    name: str
    check: str


@dataclass
class Asked:
    """One request for a server action, in its transaction.

    `server` is the caller's and its row is held; `value` is what the body says under the action's
    name, checked by the action's schema. Store functions take `session` and `caller`.
    """

    session: Session
    caller: Caller
    server: Server
    value: Any
    started: list[Accepted] = field(default_factory=list)

    def start(self, kind: str, **args: Any) -> None:
        """Ask for one of STARTED, such as `stop`, or `reboot` with `type="HARD"`.

        The answer is then a 202 that names its task. Raises Conflict when the server's state or
        its lock does not let it, Bug for what cannot be asked for so.
        """
        if kind not in STARTED:
            raise Bug(f"asked.start({kind!r}): it takes {', '.join(sorted(STARTED))}")
        taken = {"type": ("SOFT", "HARD")} if kind == "reboot" else {}
        for name, value in args.items():
            if value not in taken.get(name, ()):
                raise Bug(f"asked.start({kind!r}) takes no {name}={value!r}")
        made = servers.request(self.session, self.caller, self.server.id, kind, args)
        self.started.append(made)


@dataclass(frozen=True)
class Action:
    """A server action: `POST /servers/{id}/action` with the body `{name: value}`.

    `schema` is the value's JSON Schema. `perform` gets an Asked, and returns the answer's body or
    None; whatever it raises of `app.errors` becomes that answer, and nothing is changed then.
    `locked_out`: it is refused while the server is locked, but for administrators.
    """

    name: str
    rule: Rule
    schema: Mapping[str, Any]
    perform: Callable[[Asked], Any]
    locked_out: bool = True
    since: Version = microversions.MIN
    until: Version = microversions.MAX


@dataclass(frozen=True)
class Resource:
    """Routes below `/compute/v2.1`: classes by path. `rules`: what they name in `policy`, `asks`.

    A method that takes a body says so by `takes(SCHEMA)`.
    """

    routes: Mapping[str, type[Route]]
    rules: Sequence[Rule]


@dataclass(frozen=True)
class Field:
    """A field of servers that are shown whole, at every microversion.

    `values` gets a session that reads and all servers of the answer at once, and returns what to
    show by server id; a server that it leaves out shows null. `schema` is a value's JSON Schema.
    """

    name: str
    rule: Rule
    schema: Mapping[str, Any]
    values: Callable[[Session, Sequence[Server]], Mapping[str, Any]]
