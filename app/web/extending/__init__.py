"""The API for packages that add to this one: what stands here keeps its name and meaning.

A package declares an `Action`, a `Resource` or a `Field` as an entry point of the group
`novella.server_actions`, `novella.resources` or `novella.server_fields`, and the operator names
that entry point in the setting `extensions`. `docs/extending.md` has a worked example.
"""

from app.errors import Conflict, Forbidden, Invalid, NotFound
from app.store.database import reading, transaction
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route
from app.web.body import Schema, body, only
from app.web.context import caller
from app.web.extending.parts import Action, Asked, Field, Resource, Rule, takes
from app.web.policy import INSIDE, allows, require

__all__ = [
    "INSIDE",
    "Action",
    "Asked",
    "Conflict",
    "Field",
    "Forbidden",
    "Invalid",
    "NotFound",
    "Resource",
    "Route",
    "Rule",
    "Schema",
    "allows",
    "answer",
    "body",
    "caller",
    "nothing",
    "once",
    "only",
    "reading",
    "require",
    "takes",
    "transaction",
]
