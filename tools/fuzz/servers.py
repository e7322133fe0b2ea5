"""Servers in the states that their actions want."""

from __future__ import annotations

import random
from typing import Any

from tools.fuzz.wire import Failed, Wire

Json = dict[str, Any]
ROOT = "/compute/v2.1/servers"
NEEDS = {"os-start": "SHUTOFF", "unpause": "PAUSED", "resume": "SUSPENDED", "unrescue": "RESCUE"}
_WAYS = {"SHUTOFF": "os-stop", "PAUSED": "pause", "SUSPENDED": "suspend", "RESCUE": "rescue"}
_FEW, _MANY = 3, 30


class Servers:
    """The project's servers. `image` and `network` are what new ones are made of."""

    def __init__(self, admin: Wire, image: str, network: str) -> None:
        self.admin, self.image, self.network = admin, image, network
        self.first = self.new()

    def new(self) -> Json:
        """A server that is active, as it is shown; its task and request are kept in `first`."""
        about = {
            "name": "fuzz", "flavorRef": "6", "imageRef": self.image,
            "networks": [{"uuid": self.network}], "metadata": {"color": "red"}, "tags": ["red"],
        }  # fmt: skip
        answer = self.admin.must("POST", ROOT, json={"server": about})
        self.task_id = answer.headers["X-Task-Id"]
        self.request_id = answer.headers["x-openstack-request-id"]
        return self.idle(str(answer.json()["server"]["id"]))

    def idle(self, id_: str, status: str = "ACTIVE") -> Json:
        """The server once it is of that status and nothing is done to it. Raises Failed."""
        found: Json = {}

        def arrived() -> bool:
            found.update(self.admin.must("GET", f"{ROOT}/{id_}").json()["server"])
            return found["status"] == status and not found["OS-EXT-STS:task_state"]

        if not self.admin.eventually(arrived, 60):
            raise Failed(f"server {id_} is {found.get('status')}, not {status}")
        return found

    def fit_for(self, action: str) -> str:
        """The id of a server on which the action is legal now."""
        chosen = self._at_rest()["id"]
        wanted = NEEDS.get(action, "ACTIVE")
        if wanted in _WAYS:
            way = _WAYS[wanted]
            self.admin.must("POST", f"{ROOT}/{chosen}/action", json={way: None})
            self.idle(chosen, wanted)
        return str(chosen)

    def any(self) -> str:
        """The id of an active server."""
        return str(self._at_rest()["id"])

    def _at_rest(self) -> Json:
        listed = self.admin.must("GET", f"{ROOT}/detail").json()["servers"]
        good = [
            one
            for one in listed
            if one["status"] == "ACTIVE" and not one["OS-EXT-STS:task_state"] and not one["locked"]
        ]
        for one in listed[_MANY:]:
            self.admin.ask("DELETE", f"{ROOT}/{one['id']}")
        return random.choice(good[-10:]) if len(good) >= _FEW else self.new()
