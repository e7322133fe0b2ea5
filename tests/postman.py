"""Delivers messages by hand: twice, late, after their undo."""

from __future__ import annotations

from celery import chain

from app.celery import make_app
from app.models import Action, Server
from app.publisher import publisher
from app.store.database import reading
from app.tasks import publish
from tests.cloud import Cloud, eventually

QUEUES = ("scheduler", "conductor", "host-n1", "host-n2")


class Postman:
    """Delivers an action's messages, each as often as told, and keeps them to deliver late."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.kept: list[object] = []

    def deliver(self, action_id: str, times: int = 2) -> None:
        """Take the action through all its stages, each message `times` times."""
        seen: set[tuple[str, str, int]] = set()
        while self.cloud.action(action_id).finished_at is None:
            with reading() as session:
                action = session.get(Action, action_id)
                assert action is not None
                server = session.get(Server, action.server_id)
                assert server is not None
                where = (action.stage, action.direction, server.fence)
                message = self._message(session, action, server)
            if where in seen or message is None:
                eventually(lambda where=where: self._moved(action_id, where), 20, f"past {where}")
                continue
            seen.add(where)
            self.kept.append(message)
            for _ in range(times):
                message.apply_async()

    def _moved(self, action_id: str, where: tuple[str, str, int]) -> bool:
        action = self.cloud.action(action_id)
        now = (action.stage, action.direction, self.cloud.server(action.server_id).fence)
        return action.finished_at is not None or now != where

    @staticmethod
    def _message(session: object, action: Action, server: Server):  # type: ignore[no-untyped-def]
        app = publisher()
        if not publish.is_on_host(action):
            return publish.control(app, action.stage, action.request_id)
        stage = publish.host_stage(session, app, action, server)
        return stage and chain(stage, publish.settle(app), app=app)

    def deliver_late(self) -> None:
        """Deliver everything once more, in both orders."""
        for message in [*self.kept, *reversed(self.kept)]:
            message.apply_async()  # type: ignore[attr-defined]
        self.quiet()

    def quiet(self) -> None:
        """Wait until no message waits or runs anywhere."""
        redis = self.cloud.redis()
        inspect = make_app().control.inspect(timeout=1.0)

        def idle() -> bool:
            waiting = sum(int(redis.llen(queue)) for queue in QUEUES)
            active = [task for tasks in (inspect.active() or {"?": [1]}).values() for task in tasks]
            return not waiting and not active

        eventually(lambda: idle() and idle(), 30, "queues are empty and workers idle")
