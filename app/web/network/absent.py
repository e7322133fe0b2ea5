"""What this cloud does not have, for clients that ask: empty lists, and nothing to show."""

from __future__ import annotations

from typing import Any

from flask import Response

from app.errors import NotFound
from app.web.answers import answer
from app.web.network.resources import Collection, Item, listing, reading
from app.web.network.versions import ns

_COLUMNS = {"id": ("id", str)}
_KINDS = (
    ("floatingips", "floatingip", "Floating addresses."),
    ("routers", "router", "Routers: each network reaches out by its own host."),
    ("agents", "agent", "Neutron's agents: hosts are shown by Compute."),
)


def _collection(path: str, noun: str, summary: str) -> type[Collection]:
    def get(self: Collection) -> Response:
        listing(_COLUMNS, ("id",))
        return answer({f"{noun}s": []})

    get.__doc__ = f"{summary} There are none."
    made = {"get": get, "policy": reading(f"get_{noun}"), "__module__": __name__}
    return type(path.title().replace("-", ""), (Collection,), made)


def _item(path: str, noun: str) -> type[Item]:
    def get(self: Item, **named: Any) -> Response:
        kind = noun.replace("_", " ").capitalize()
        raise NotFound(f"{kind} {named[f'{noun}_id']} could not be found.")

    get.__doc__ = "Nothing to show: there are none."
    made = {"get": get, "policy": reading(f"get_{noun}"), "__module__": __name__}
    return type("One" + path.title().replace("-", ""), (Item,), made)


for _path, _noun, _summary in _KINDS:
    ns.route(f"/v2.0/{_path}")(_collection(_path, _noun, _summary))
    ns.route(f"/v2.0/{_path}/<{_noun}_id>")(_item(_path, _noun))
