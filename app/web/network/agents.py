"""What this cloud does not have, for clients that ask: empty lists, and nothing to show."""

from __future__ import annotations

from flask import Response

from app.errors import NotFound
from app.web.answers import answer
from app.web.api import Route
from app.web.network.resources import listing
from app.web.network.versions import ns
from app.web.shapes import network as shapes

_COLUMNS = {"id": ("id", str)}


@ns.route("/v2.0/agents")
class Agents(Route):
    shows = {"get": shapes.AGENTS}
    policy = {"get": "get_agent"}

    def get(self) -> Response:
        """List Neutron's agents: there are none, hosts are shown by Compute."""
        listing(_COLUMNS, ("id",))
        return answer({"agents": []})


@ns.route("/v2.0/agents/<agent_id>")
class OneAgent(Route):
    policy = {"get": "get_agent"}
    answers = {"get": ()}

    def get(self, agent_id: str) -> Response:
        """Nothing to show: there are none."""
        raise NotFound(f"Agent {agent_id} could not be found.", code="AgentNotFound")
