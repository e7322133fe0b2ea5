"""Actions through their stages: the compare-and-set that everything else is guarded by.

Rows are locked in one order everywhere: servers (by id), then their actions, then what hosts owe of
them, then hosts (by name).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from app.domain.message import DO, UNDO, Fault, Key
from app.domain.states import CANCELLED, FAILED, RUNNING, SUCCEEDED
from app.models import Action, ActionEvent, Image, Server, now
from app.sealing import SEALED
from app.store.among import among
from app.store.database import clock

BEFORE = "before"
"""The argument that keeps the server's columns as they were before the request changed them."""
AFTER = "after"
"""The argument that keeps what the request made of them."""
_PASSING = frozenset({SEALED, BEFORE, AFTER})
"""Arguments that an action has only until it ends."""
FIRST_RING = 2.0
"""Seconds after which a stage that was sent once is rung by the sweep."""


def hold(session: Session, key: Key) -> tuple[Action, Server] | None:
    """Lock the action and its server, if it still stands at `key`; None when it does not."""
    held = lock(session, key.action_id)
    if held is None:
        return None
    action, server = held
    stands = (
        action.finished_at is None
        and (action.stage, action.direction) == (key.stage, key.direction)
        and server.fence == key.fence
    )
    return held if stands else None


def lock(session: Session, action_id: str) -> tuple[Action, Server] | None:
    """Lock the action and its server, in the order that all writers use."""
    server_id = session.scalar(select(Action.server_id).where(Action.id == action_id))
    if server_id is None:
        return None
    server = session.scalars(
        select(Server).where(Server.id == server_id).with_for_update()
    ).one_or_none()
    action = session.scalars(
        select(Action).where(Action.id == action_id).with_for_update()
    ).one_or_none()
    return (action, server) if action is not None and server is not None else None


def hold_request(
    session: Session, request_id: str, stage: str, limit: int | None = None
) -> list[tuple[Action, Server]]:
    """Lock every unfinished create of the request that stands at `stage`, in launch order.

    At most `limit` of them, those that come first by their servers' ids.
    """
    standing = (
        select(Action.server_id)
        .where(
            Action.request_id == request_id,
            Action.stage == stage,
            Action.direction == DO,
            Action.finished_at.is_(None),
        )
        .order_by(Action.server_id)
        .limit(limit)
        .scalar_subquery()
    )
    servers = {
        server.id: server
        for server in session.scalars(
            select(Server).where(Server.id.in_(standing)).order_by(Server.id).with_for_update()
        )
    }
    actions = session.scalars(
        select(Action)
        .where(
            Action.server_id.in_(list(servers)),
            Action.request_id == request_id,
            Action.stage == stage,
            Action.direction == DO,
            Action.finished_at.is_(None),
        )
        .order_by(Action.server_id)
        .with_for_update()
    )
    held = [(action, servers[action.server_id]) for action in actions]
    return sorted(held, key=lambda pair: pair[1].launch_index)


def has_been_placed(session: Session, request_id: str) -> bool:
    """Whether any action of the request has passed its claim."""
    events = (
        select(ActionEvent.id)
        .join(Action, Action.id == ActionEvent.action_id)
        .where(Action.request_id == request_id, ActionEvent.stage == "build")
    )
    return session.scalars(events.limit(1)).first() is not None


def at_stage(session: Session, stage: str, ids: Sequence[str]) -> set[str]:
    """Those of the ids whose actions stand at the stage, unfinished."""
    standing = select(Action.id).where(
        among(session, Action.id, ids), Action.stage == stage, Action.finished_at.is_(None)
    )
    return set(session.scalars(standing))


def failed_builds(session: Session, action_id: str, part: str = "code") -> dict[str, str]:
    """For each host on which the action's build failed, the newest fault's code (or another part),
    the newest last."""
    events = session.execute(
        select(ActionEvent.host, ActionEvent.fault)
        .where(ActionEvent.action_id == action_id, ActionEvent.stage == "build")
        .order_by(ActionEvent.id)
    )
    found: dict[str, str] = {}
    for host, fault in events:
        if host and fault:
            found.pop(host, None)
            found[host] = str(fault.get(part, ""))
    return found


def unfinished(session: Session, server_id: str) -> Action | None:
    """The one action that the server has in flight."""
    return session.scalars(
        select(Action)
        .where(Action.server_id == server_id, Action.finished_at.is_(None))
        .with_for_update()
    ).one_or_none()


def key_of(action: Action, server: Server) -> Key:
    """The key that the action's messages bear now."""
    return Key(action.id, server.fence, action.stage, action.direction)


def enter(
    session: Session,
    action: Action,
    server: Server,
    stage: str,
    direction: str = DO,
    slow: bool = False,
) -> None:
    """Move to `stage`: due for a ring in two seconds, with an event of its own.

    A slow stage's clock starts when its host says that it began, any other's now.
    """
    action.stage, action.direction = stage, direction
    action.state = RUNNING
    action.started_at = action.started_at or clock(session)
    action.next_ring_at = clock(session) + FIRST_RING
    action.rings = 0
    action.stage_started_at = None if slow else clock(session)
    action.progress = 0
    action.message = None
    action.progress_at = None
    action.revision += 1
    begin_event(session, action, server)


def enter_all(session: Session, moved: Sequence[tuple[Action, Server]], slow: bool = False) -> None:
    """As `end_event` and `enter` for many actions whose `stage` has been set to the next one.

    A few statements for all of them; each event is closed with its action's host.
    """
    time = clock(session)
    ids = [action.id for action, _ in moved]
    for action, _ in moved:
        action.state, action.direction = RUNNING, DO
        action.started_at = action.started_at or time
        action.next_ring_at, action.rings = time + FIRST_RING, 0
        action.stage_started_at = None if slow else time
        action.progress, action.progress_at, action.message = 0, None, None
        action.revision += 1
    session.flush()
    host = select(Action.host).where(Action.id == ActionEvent.action_id).scalar_subquery()
    session.execute(
        update(ActionEvent)
        .where(ActionEvent.action_id.in_(ids), ActionEvent.finished_at.is_(None))
        .values(finished_at=now(), result=SUCCEEDED, host=host)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        insert(ActionEvent),
        [
            {
                "action_id": action.id,
                "stage": action.stage,
                "direction": DO,
                "host": action.host,
                "fence": server.fence,
            }
            for action, server in moved
        ],
    )


def begin_event(session: Session, action: Action, server: Server) -> None:
    """Open the event of the stage that the action stands at."""
    session.add(
        ActionEvent(
            action_id=action.id,
            stage=action.stage,
            direction=action.direction,
            host=action.host,
            fence=server.fence,
            started_at=now(),
        )
    )
    session.flush()


def end_event(
    session: Session, action: Action, result: str = SUCCEEDED, fault: Fault | None = None
) -> None:
    """Close the action's open events with `result`."""
    session.flush()
    session.execute(
        update(ActionEvent)
        .where(ActionEvent.action_id == action.id, ActionEvent.finished_at.is_(None))
        .values(
            finished_at=now(),
            result=result,
            host=action.host,
            fault=asdict(fault) if fault else None,
        )
    )


def inline_event(session: Session, action: Action, server: Server, stage: str) -> None:
    """Record a step that was done within this transaction."""
    session.add(
        ActionEvent(
            action_id=action.id,
            stage=stage,
            direction=action.direction,
            host=action.host,
            fence=server.fence,
            started_at=now(),
            finished_at=now(),
            result=SUCCEEDED,
        )
    )


def finish(
    session: Session, action: Action, server: Server, state: str, fault: Fault | None = None
) -> None:
    """End the action; the server is idle again. A fault is kept in the action's words."""
    event = {SUCCEEDED: SUCCEEDED, CANCELLED: CANCELLED}.get(state, FAILED)
    end_event(session, action, event, fault)
    action.state = state
    action.finished_at = clock(session)
    action.started_at = action.started_at or clock(session)
    action.revision += 1
    if state == SUCCEEDED:
        action.progress = 100
        action.message = None
    if fault is not None:
        action.fault = asdict(fault)
    if state != SUCCEEDED and (made := action.args.get("made_image")):
        _drop_image(session, str(made))
    if _PASSING & set(action.args):
        action.args = {name: it for name, it in action.args.items() if name not in _PASSING}
    server.task_state = None


def put_back(action: Action, server: Server) -> None:
    """Have the server's columns be what they were before the request changed them.

    What another request has changed since stays, of metadata by its keys: that was accepted, too.
    """
    made = action.args.get(AFTER, {})
    for column, value in action.args.get(BEFORE, {}).items():
        shown = getattr(server, column)
        setattr(server, column, _restored(value, made.get(column, shown), shown))


def _restored(before: Any, made: Any, shown: Any) -> Any:
    """`before`, but for what of `shown` is no longer as the request made it."""
    if not all(isinstance(value, dict) for value in (before, made, shown)):
        return before if made == shown else shown
    kept = {
        key: before if made.get(key) == shown.get(key) else shown for key in {**before, **shown}
    }
    return {key: values[key] for key, values in kept.items() if key in values}


def _drop_image(session: Session, image_id: str) -> None:
    """An image that will not get its data is deleted; web removes what of it came."""
    session.execute(
        update(Image)
        .where(Image.id == image_id, Image.status == "saving")
        .values(status="deleted", deleted_at=now())
    )


def turn_back(
    session: Session, action: Action, server: Server, stage: str, fault: Fault | None
) -> None:
    """Turn the action to undo, from `stage`; the fence makes whatever still runs void."""
    end_event(session, action, FAILED if fault else CANCELLED, fault)
    server.fence += 1
    enter(session, action, server, stage, UNDO)


def event_fault(fault: Fault) -> dict[str, Any]:
    """The fault as rows and answers keep it."""
    return asdict(fault)


def with_servers(session: Session, ids: Sequence[str]) -> list[tuple[Action, Server]]:
    """These actions and their servers, as far as they are there."""
    rows = session.execute(
        select(Action, Server)
        .join(Server, Server.id == Action.server_id)
        .where(Action.id.in_(ids))
        .order_by(Action.created_at, Action.id)
    )
    return [(action, server) for action, server in rows]


def server_of(session: Session, action: Action) -> Server | None:
    """The action's server."""
    return session.get(Server, action.server_id)
