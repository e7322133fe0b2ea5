"""From message to outcome: the way in, the journal's word, the effect, the way out."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

from app import logs
from app.domain.message import DONE, FAILED, STALE, Fault, HostMessage, Outcome
from app.errors import Cancelled, HostFault, NovellaError
from app.failpoints import reach
from app.tasks.host.effects import Effects
from app.tasks.host.journal import DONE as RECORD_DONE
from app.tasks.host.journal import Journal, Record
from app.tasks.host.room import Room
from app.tasks.host.running import Running, RunningTasks

log = logs.get(__name__)
JOIN_SECONDS = 60.0
MAX_STARTS = 3


class Intake:
    """Runs each accepted message once at a time per server, and answers with its outcome."""

    def __init__(self, host: str, journal: Journal, effects: Effects, room: Room) -> None:
        self.host = host
        self.journal = journal
        self.effects = effects
        self.room = room
        self.tasks = RunningTasks()
        self._accepting = threading.Lock()

    def handle(self, message: HostMessage) -> Outcome | None:
        """The message's outcome, or None when there is nothing to say (dropped, superseded)."""
        with self._accepting:
            answer, record = self._accept(message)
            if record is None:
                return answer
            task = self.tasks.admit(message.key, message.server_id)
        if task is None:
            return None
        try:
            return self._run(message, record, task)
        finally:
            self.tasks.leave(task)

    def _accept(self, message: HostMessage) -> tuple[Outcome | None, Record | None]:
        """The answer to send without doing anything, or the record to run."""
        key = message.key
        known = self.journal.get(message.server_id)
        fresh = Record(message.server_id, key, message.kind)
        if known is None or known.key.fence < key.fence:
            self.journal.put(fresh)
            return None, fresh
        another = known.key.action_id != key.action_id and message.kind != "cleanup"
        if known.key.fence > key.fence or another:
            return self._outcome(message, STALE, known_fence=known.key.fence), None
        if known.key != key:
            if known.state != RECORD_DONE and self.tasks.is_running(message.server_id):
                return None, None
            self.journal.put(fresh)
            return None, fresh
        if known.state == RECORD_DONE:
            stored = known.outcome
            if stored is not None and stored.result == FAILED and key.stage == "destroy":
                # A removal is owed until it is done: asked again, it is tried again.
                self.journal.put(fresh)
                return None, fresh
            return (stored and replace(stored, request_id=message.request_id)), None
        return None, known

    def _run(self, message: HostMessage, record: Record, task: Running) -> Outcome | None:
        try:
            with (
                self.room.of(message.key.stage, task.cancel),
                self.tasks.server(message.server_id, JOIN_SECONDS) as held,
            ):
                if not held:
                    self._hopeless(message)
                outcome = self._effect(message, record, task)
        except Cancelled as error:
            outcome = self._failed(message, Fault("cancelled", error.message, retriable=True))
        reach(f"{message.key.stage}.after")
        if not self.journal.finish(record, outcome):
            # Still said: settle refuses it by its fence, and stores the result that stands.
            log.info("superseded", stage=message.key.stage, fence=message.key.fence)
            return outcome
        reach(f"{message.key.stage}.journalled")
        return outcome

    def _effect(self, message: HostMessage, record: Record, task: Running) -> Outcome:
        if task.cancel.is_set():
            raise Cancelled("a newer request took over")
        if record.starts >= MAX_STARTS - 1:
            text = f"the worker died {record.starts} times while doing this"
            return self._failed(message, Fault("worker_died", text, retriable=True))
        self.journal.start(record)
        task.started = True
        reach(f"{message.key.stage}.before")
        try:
            answer = self.effects.of(message.key.stage)(message, task)
        except HostFault as error:
            return self._failed(message, Fault(error.code, error.message, error.retriable))
        except Cancelled:
            raise
        except NovellaError as error:
            return self._failed(message, Fault(error.code, error.message))
        except Exception as error:  # noqa: BLE001  (a host task answers, it never raises)
            log.exception("effect failed", stage=message.key.stage)
            text = f"{message.key.stage} raised {type(error).__name__}: see the host's log"
            return self._failed(message, Fault("bug", text, retriable=True))
        return self._outcome(message, answer.result, power_state=answer.power_state)

    def _hopeless(self, message: HostMessage) -> None:
        log.error(
            "an older task ignores its cancellation: ending this worker for its supervisor to "
            "restart",
            server_id=message.server_id,
        )
        os._exit(70)

    def _failed(self, message: HostMessage, fault: Fault) -> Outcome:
        log.warning("stage failed", stage=message.key.stage, code=fault.code, error=fault.message)
        return replace(self._outcome(message, FAILED), fault=fault)

    def _outcome(
        self,
        message: HostMessage,
        result: str = DONE,
        power_state: int = 0,
        known_fence: int | None = None,
    ) -> Outcome:
        return Outcome(
            key=message.key,
            server_id=message.server_id,
            host=self.host,
            result=result,
            power_state=power_state,
            known_fence=known_fence,
            request_id=message.request_id,
        )
