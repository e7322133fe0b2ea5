"""From message to outcome: the way in, the journal's word, the effect, the way out."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

from app import logs
from app.domain.message import DONE, FAILED, STALE, Fault, HostMessage, Key, Outcome
from app.errors import Cancelled, HostFault, NovellaError
from app.failpoints import reach
from app.tasks.host.effects import Effects
from app.tasks.host.journal import DONE as RECORD_DONE
from app.tasks.host.journal import Journal, Record
from app.tasks.host.room import BUILDS, COPIES, MAX_COPIES, MAX_SLOW, Room
from app.tasks.host.running import Running, RunningTasks
from app.tasks.workflow import WORKFLOWS

log = logs.get(__name__)
JOIN_SECONDS = 60.0
WAIT_SECONDS = 2 * JOIN_SECONDS
MAX_STARTS = 3
EXIT_SOFTWARE = 70
REPLACING = frozenset({"rebuild", "rescue", "unrescue", "attach"})
"""Stages after whose failure the server is what it was, unless they say `half_done`."""


class Intake:
    """Runs each accepted message once at a time per server, and answers with its outcome."""

    def __init__(self, host: str, journal: Journal, effects: Effects, room: Room) -> None:
        self.host = host
        self.journal = journal
        self.effects = effects
        self.room = room
        self.tasks = RunningTasks()
        self._accepting = threading.Lock()
        self._unwritten: dict[str, Outcome] = {}

    def handle(self, message: HostMessage) -> Outcome | None:
        """The message's outcome, or None when there is nothing to say (dropped, superseded)."""
        try:
            with self._accepting:
                answer, record = self._accept(message)
                if record is None:
                    return answer
                if self._is_full(message.key.stage):
                    log.info(
                        "dropped: no thread to spare; it is rung again", stage=record.key.stage
                    )
                    return None
                task = self.tasks.admit(message.key, message.server_id)
        except HostFault as error:
            # Nothing was begun, and without a record nothing may be: that is an answer, too.
            return self._keep(self._failed(message, Fault(error.code, error.message, True)))
        if task is None:
            return None
        try:
            return self._run(message, record, task)
        finally:
            self.tasks.leave(task)

    def guard(self, ended: threading.Event) -> None:
        """End the worker when a cancelled task goes on for JOIN_SECONDS, until `ended`.

        Its supervisor starts it anew, in a new session and with the hung thread gone.
        """
        while not ended.wait(1.0):
            for task in self.tasks.deaf(JOIN_SECONDS):
                log.error(
                    "a task ignores its cancellation: ending this worker for its supervisor to "
                    "restart",
                    server_id=task.server_id,
                    stage=task.key.stage,
                )
                os._exit(EXIT_SOFTWARE)

    def _is_full(self, stage: str) -> bool:
        return any(
            stage in kin and self.tasks.of_stages(kin) >= most
            for kin, most in ((BUILDS, MAX_SLOW), (COPIES, MAX_COPIES))
        )

    def _keep(self, outcome: Outcome) -> Outcome:
        """Remember what the journal could not take, while this process lives."""
        self._unwritten[outcome.server_id] = outcome
        return outcome

    def _accept(self, message: HostMessage) -> tuple[Outcome | None, Record | None]:
        """The answer to send without doing anything, or the record to run."""
        key = message.key
        known = self.journal.get(message.server_id)
        fresh = Record(message.server_id, key, message.kind)
        told = self._unwritten.get(message.server_id)
        if told is not None and told.key == key and not _is_owed(told):
            return replace(told, request_id=message.request_id), None
        if known is None or known.key.fence < key.fence:
            self.journal.put(fresh)
            return None, fresh
        another = known.key.action_id != key.action_id and message.kind != "cleanup"
        if known.key.fence > key.fence or another:
            return self._outcome(message, STALE, known_fence=known.key.fence), None
        if known.key != key:
            if known.state != RECORD_DONE and self.tasks.is_running(message.server_id):
                return None, None
            if _is_past(message, known.key):
                return None, None
            self.journal.put(fresh)
            return None, fresh
        if known.state == RECORD_DONE:
            stored = known.outcome
            if stored is not None and _is_owed(stored):
                self.journal.put(fresh)
                return None, fresh
            return (stored and replace(stored, request_id=message.request_id)), None
        return None, known

    def _run(self, message: HostMessage, record: Record, task: Running) -> Outcome | None:
        try:
            with (
                self.room.of(message.key.stage, task.cancel),
                self.tasks.server(task, WAIT_SECONDS) as held,
            ):
                if not held:
                    raise Cancelled("an older task for this server does not end")
                outcome = self._effect(message, record, task)
        except Cancelled as error:
            outcome = self._failed(message, Fault("cancelled", error.message, retriable=True))
        reach(f"{message.key.stage}.after")
        try:
            kept = self.journal.finish(record, outcome)
        except HostFault as error:
            log.error("outcome not journalled", stage=message.key.stage, error=error.message)
            return self._keep(outcome)
        if not kept:
            # Still said: settle refuses it by its fence, and stores the result that stands.
            log.info("superseded", stage=message.key.stage, fence=message.key.fence)
            return outcome
        reach(f"{message.key.stage}.journalled")
        return outcome

    def _effect(self, message: HostMessage, record: Record, task: Running) -> Outcome:
        if task.cancel.is_set():
            raise Cancelled("a newer request took over")
        if record.starts >= MAX_STARTS - 1:
            self._sweep(message)
            text = f"the worker died {record.starts} times while doing this"
            return self._failed(message, Fault("worker_died", text, retriable=True))
        try:
            self.journal.start(record)
            task.started = True
            reach(f"{message.key.stage}.before")
            answer = self.effects.of(message.key.stage)(message, task)
        except HostFault as error:
            return self._failed(message, _fault(error, record))
        except Cancelled:
            raise
        except NovellaError as error:
            return self._failed(message, Fault(error.code, error.message))
        except Exception as error:  # a host task answers, it never raises
            log.exception("effect failed", stage=message.key.stage)
            text = f"{message.key.stage} raised {type(error).__name__}: see the host's log"
            return self._failed(message, Fault("bug", text, retriable=True))
        outcome = self._outcome(message, answer.result, power_state=answer.power_state)
        return replace(outcome, found=answer.found)

    def _sweep(self, message: HostMessage) -> None:
        """What tries that were killed have left is of no use when there is no further one."""
        if message.key.stage not in COPIES:
            return
        try:
            self.effects.driver.discard_snapshot(message.server_id, message.key.fence)
        except HostFault as error:
            log.warning("left a copy behind; it is tidied later", error=error.message)

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


def _fault(error: HostFault, record: Record) -> Fault:
    """What to answer. A try that could not even look does not know what an earlier one, whose
    worker died, has replaced: the server must not be taken for what it was."""
    blind = error.code in ("hypervisor_away", "too_slow")
    if blind and record.starts and record.key.stage in REPLACING:
        return Fault("half_done", f"an earlier try was interrupted; then: {error.message}")
    return Fault(error.code, error.message, error.retriable)


def _is_past(message: HostMessage, known: Key) -> bool:
    """Whether the action has passed this stage at this fence: it never goes back without a new one.

    A late build would make the journal forget that its resume was done.
    """
    key, flow = message.key, WORKFLOWS.get(message.kind)
    if flow is None or (key.action_id, key.direction) != (known.action_id, known.direction):
        return False
    order = [step.name for step in flow.steps]
    return {key.stage, known.stage} <= set(order) and (
        order.index(key.stage) < order.index(known.stage)
    )


def _is_owed(outcome: Outcome) -> bool:
    """A removal is owed until it is done: asked again, it is tried again."""
    return outcome.result == FAILED and outcome.key.stage == "destroy"
