"""Is the process alive, and can it accept work?"""

from __future__ import annotations

from flask import Response
from flask_restx import Namespace

from app.errors import Unavailable
from app.store import migrations
from app.store.database import reading
from app.web import metrics
from app.web.answers import answer
from app.web.api import Route
from app.web.shapes import v1 as shapes

ns = Namespace("health", "For load balancers and supervisors", path="/")


@ns.route("/healthz")
class Alive(Route):
    shows = {"get": shapes.ALIVE}
    public = True

    @ns.doc(security=[])
    def get(self) -> Response:
        """Answer as long as the process can."""
        return answer({"status": "ok"})


@ns.route("/readyz")
class Ready(Route):
    shows = {"get": shapes.READY}
    public = True

    @ns.doc(security=[])
    def get(self) -> Response:
        """Answer when the database is there and has the newest schema."""
        broker = metrics.metrics().broker.look()
        with reading():  # whose errors are told as "the database is away"
            current = migrations.is_current()
        if not current:
            raise Unavailable("the database's schema is not the newest: run novella db upgrade")
        # Without the broker requests are still accepted, and none is lost: that is ready.
        return answer(
            {
                "status": "ready",
                "database": "ok",
                "schema": "current",
                "broker": {"ok": broker.ok, "age": broker.age},
            }
        )
