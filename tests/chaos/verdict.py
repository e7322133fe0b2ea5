"""What became of everything that was promised, once all that was struck runs again."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain import states
from app.models import Action, Server
from tests.chaos import rows
from tests.chaos.clients import Caller, Ledger, Promise
from tests.chaos.recovery import recovery
from tests.chaos.saboteur import Struck
from tests.chaos.watcher import Watcher
from tests.chaos.world import World

SETTLE_SECONDS = 75.0
"""An inventory and a pass of the sweep: until then reconcile may still find something."""
DELETE_SECONDS = 120.0
POLL_SECONDS = 0.5
TAKEN_OVER = "pre_empted"
_RUNS = {states.ACTIVE: True, states.STOPPED: False}


@dataclass
class Verdict:
    """The counts; `findings` has a line for each thing that must not be."""

    accepted: int = 0
    ended: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    stuck: int = 0
    leaked: int = 0
    doubled: int = 0
    overcommitted: int = 0
    recovery: dict[str, float] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    waited: float = 0.0

    @property
    def good(self) -> bool:
        """Whether nothing was lost, stuck, leaked, doubled or over-committed."""
        counts = (self.lost, self.stuck, self.leaked, self.doubled, self.overcommitted)
        return not any(counts)

    def document(self) -> dict[str, object]:
        """What --json writes."""
        return {
            "accepted": self.accepted,
            "ended": self.ended,
            "faults": dict(self.faults),
            "lost": self.lost,
            "stuck": self.stuck,
            "leaked": self.leaked,
            "doubled": self.doubled,
            "overcommitted": self.overcommitted,
            "recovery": self.recovery,
        }

    def find(self, what: str, lines: list[str]) -> int:
        """Note findings of one sort; how many they are."""
        self.findings += [f"{what}: {line}" for line in lines]
        return len(lines)


class Judge:
    """Waits for the ends, counts them, then deletes everything and looks at what stays."""

    def __init__(self, world: World, ledger: Ledger, before: dict[str, list[str]]) -> None:
        self.world, self.ledger, self.before = world, ledger, before
        self.verdict = Verdict(accepted=len(ledger.promises))

    def judge(self, watcher: Watcher, struck: list[Struck]) -> Verdict:
        """The whole verdict; takes as long as the matrix allows, at most."""
        verdict = self.verdict
        begun = time.monotonic()
        stuck = self._poll(self._unfinished, self.world.options.wait)
        verdict.stuck += verdict.find("stuck", stuck)
        verdict.waited = time.monotonic() - begun
        wrong = self._poll(self._mismatches, SETTLE_SECONDS) if not stuck else self._mismatches()
        verdict.lost += verdict.find("lost", wrong)
        verdict.leaked += verdict.find("leaked", self._read(rows.held))
        with rows.snapshot(self.world.cloud.engine) as session:
            self._count(session)
            verdict.recovery = recovery(session, struck)
        self._delete_everything()
        watcher.stop()
        verdict.doubled += verdict.find("doubled", _lines(watcher.doubled))
        verdict.leaked += verdict.find("leaked", _lines(watcher.leaked))
        verdict.overcommitted += verdict.find("overcommitted", _lines(watcher.overcommitted))
        return verdict

    def _read(self, query: Callable[[Session], list[str]]) -> list[str]:
        with rows.snapshot(self.world.cloud.engine) as session:
            return query(session)

    def _unfinished(self) -> list[str]:
        return self._read(rows.unfinished)

    @staticmethod
    def _poll(wrong: Callable[[], list[str]], seconds: float) -> list[str]:
        """What is still wrong when nothing is any more, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while (found := wrong()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return found

    def _count(self, session: Session) -> None:
        """Each promise once: ended well, ended in a fault, stuck (counted already), or lost."""
        actions = {one.id: one for one in session.scalars(select(Action))}
        servers = {one.id: one for one in session.scalars(select(Server))}
        for promise in self.ledger.promises.values():
            action = actions.get(promise.task_id or "")
            if action is None and not _gone(promise, servers):
                self.verdict.lost += self.verdict.find("lost", [f"no row of {promise}"])
            elif action is None or _ended_well(action):
                self.verdict.ended += 1
            elif action.finished_at is not None:
                self.verdict.faults[_explained(action)] += 1

    def _mismatches(self) -> list[str]:
        """Servers whose row, last success, guest and claim do not say the same."""
        guests = {
            (guest.server_id, host): guest
            for host in self.world.hosts
            for guest in self.world.fleet.guests(host) or []
        }
        with rows.snapshot(self.world.cloud.engine) as session:
            servers = list(session.scalars(select(Server)))
            wanted = _wanted(session)
        lines = []
        for server in servers:
            here = guests.get((server.id, server.host or ""))
            runs = None if here is None else here.running
            row = f"server {server.id} is {server.vm_state} on {server.host}, fence {server.fence}"
            if server.deleted_at is not None and server.vm_state != states.DELETED:
                lines.append(f"{row}, and deleted")
            elif _RUNS.get(server.vm_state, runs) != runs:
                lines.append(f"{row}; its guest there: {here}")
            elif server.vm_state != wanted.get(server.id, server.vm_state):
                fault = (server.fault or {}).get("reason")
                lines.append(f"{row}, fault {fault}; last success: {wanted[server.id]}")
        return lines

    def _delete_everything(self) -> None:
        """As the user would; then nothing must be left anywhere."""
        caller = Caller(self.world.root, self.ledger)
        caller.log_in()
        for server_id in self._read(_living):
            caller.delete(server_id)
        stuck = self._poll(lambda: self._unfinished() + self._read(_living), DELETE_SECONDS)
        self.verdict.stuck += self.verdict.find("stuck at the end", stuck)
        leaked = self._poll(self._left, SETTLE_SECONDS if not stuck else 0.0)
        self.verdict.leaked += self.verdict.find("leaked at the end", leaked)

    def _left(self) -> list[str]:
        """What hosts and tables hold more than before the first request."""
        lines = self._read(rows.held)
        for host in self.world.hosts:
            extra = sorted(set(self.world.fleet.listing(host)) - set(self.before[host]))
            lines += [f"{host} has {line}" for line in extra]
        return lines


def _lines(found: dict[str, str]) -> list[str]:
    return [f"{name}: {text}" for name, text in found.items()]


def _living(session: Session) -> list[str]:
    return list(session.scalars(select(Server.id).where(Server.deleted_at.is_(None))))


def _gone(promise: Promise, servers: dict[str, Server]) -> bool:
    """Whether a delete whose task's id was never heard has been done."""
    server = servers.get(promise.server_id)
    deleted = server is not None and server.deleted_at is not None
    return promise.task_id is None and promise.kind == "delete" and deleted


def _ended_well(action: Action) -> bool:
    """A request that its own user took over by another is at its end, too."""
    taken_over = action.state == states.CANCELLED and _reason(action) == TAKEN_OVER
    return action.state == states.SUCCEEDED or taken_over


def _reason(action: Action) -> str:
    return str((action.fault or {}).get("code", action.state))


def _explained(action: Action) -> str:
    """The fault's code and its sentence without the numbers, so that alike ones count as one."""
    sentence = re.sub(r"\d+", "n", str((action.fault or {}).get("message", "")))
    return f"{_reason(action)}: {sentence}" if sentence else _reason(action)


def _wanted(session: Session) -> dict[str, str]:
    """The vm_state that each living server's newest action, if it succeeded, made."""
    ends = {"create": states.ACTIVE} | {
        name: kind.end for name, kind in states.KINDS.items() if kind.end is not None
    }
    newest: dict[str, Action] = {}
    for action in session.scalars(select(Action).order_by(Action.created_at)):
        newest[action.server_id] = action
    return {
        server_id: ends[action.kind]
        for server_id, action in newest.items()
        if action.state == states.SUCCEEDED and action.kind in ends
    }
