"""Accepting requests: one transaction, after which the promise stands in the rows."""

from __future__ import annotations

import re
import secrets
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.config import settings
from app.domain import states
from app.domain.advice import advised
from app.domain.caller import Caller
from app.domain.message import Fault
from app.domain.new_servers import NewServers
from app.domain.states import CANCELLED, KINDS, Kind, kind_of
from app.errors import Conflict, Forbidden, Invalid, NotFound
from app.models import (
    Action,
    Host,
    Project,
    Server,
    ServerNic,
    ServerSecurityGroup,
    ServerTag,
    new_id,
)
from app.store import (
    actions,
    endings,
    quotas,
    security_groups,
    server_groups,
    server_networks,
    user_quotas,
)
from app.store.database import clock
from app.store.hosts import UP

FIRST_STAGE = {kind.name: kind.stage for kind in KINDS.values()} | {"sync": "report"}
"""Where each kind starts (the tests compare it with the workflows)."""


ANYTHING = Kind("look", "", None, None, busy=None, needs_launch=False, guarded=False)
"""What is allowed in every state."""


def create(session: Session, caller: Caller, wanted: NewServers) -> list[Action]:
    """Accept up to `max_count` new servers; one action each, all of one request.

    Raises OverQuota when not even `min_count` fit the quota, or the group cannot have all, and
    Invalid when the group is gone.
    """
    _hold_group(session, caller, wanted)
    count = _affordable(session, caller, wanted)
    reservation = "r-" + secrets.token_hex(4)
    accepted = []
    for index in range(count):
        server = _new_server(caller, wanted, index if wanted.max_count > 1 else None)
        server.reservation_id, server.launch_index = reservation, index
        session.add(server)
        session.flush()
        _networks(session, server, wanted)
        session.add_all(ServerTag(server_id=server.id, tag=tag) for tag in wanted.tags)
        args = {"min_count": wanted.min_count}
        accepted.append(_accept(session, caller, server, "create", "schedule", args))
    if wanted.group_id is not None:
        made = [action.server_id for action in accepted]
        server_groups.join(session, caller, wanted.group_id, made)
    session.flush()
    return accepted


def _networks(session: Session, server: Server, wanted: NewServers) -> None:
    """What the server's ports will be, and those that it brings."""
    if wanted.security_groups:
        security_groups.ensure_default(session, server.project_id)
    session.add_all(
        ServerNic(
            server_id=server.id,
            position=position,
            network_id=nic.network_id,
            fixed_ip=nic.fixed_ip,
            port_id=nic.port_id,
            tag=nic.tag,
        )
        for position, nic in enumerate(wanted.nics)
    )
    session.add_all(
        ServerSecurityGroup(server_id=server.id, group_id=group)
        for group, _ in wanted.security_groups
    )
    server_networks.bind(session, server.id, wanted.nics)


def _hold_group(session: Session, caller: Caller, wanted: NewServers) -> None:
    if wanted.group_id is not None:
        try:
            server_groups.get(session, caller, wanted.group_id, lock=True)
        except NotFound as error:
            raise Invalid(error.message) from error


def request(
    session: Session, caller: Caller, server_id: str, kind: str, args: dict[str, Any]
) -> Action:
    """Accept a request of that kind on the caller's server.

    A delete takes over whatever runs; repeated, it answers the first one's action. Raises
    NotFound, and Conflict when locked or in the wrong state.
    """
    server = hold(session, caller, server_id)
    running = actions.unfinished(session, server_id)
    if kind == "delete" and running is not None and running.kind == "delete":
        return running
    rule = kind_of(kind, args)
    _check(caller, server, rule)
    if running is not None:
        rule.check_takes_over(server_id, running.kind)
    if running is not None:
        pre_empt(session, running, server, rule.name)
    server.task_state = rule.task_state
    action = _accept(session, caller, server, rule.name, rule.stage, args)
    if kind == "delete" and server.host is None:
        endings.deleted(session, action, server)
    return action


def check(session: Session, caller: Caller, server_id: str, rule: Kind) -> Server:
    """The caller's server, if a request of that kind would be accepted now.

    Raises NotFound, and Conflict.
    """
    server = _own(caller, session.get(Server, server_id), server_id)
    _check(caller, server, rule)
    return server


def _check(caller: Caller, server: Server, rule: Kind) -> None:
    if rule.guarded:
        check_unlocked(caller, server)
    rule.check(server.id, server.vm_state, server.task_state)
    if rule.needs_host and server.host is None:
        raise Conflict(f"Instance {server.id} is not ready", code="not_ready")
    if rule.needs_launch and server.launched_at is None:
        raise Conflict(
            f"Cannot '{rule.verb or rule.name}' instance {server.id} while it has never been "
            "active",
            code="wrong_state",
        )


def cancel(session: Session, caller: Caller, action_id: str) -> Action:
    """Turn a create that has not been committed back; it ends as cancelled when undone.

    Raises NotFound, and Conflict for whatever can no longer be cancelled.
    """
    owner = session.scalar(select(Action.server_id).where(Action.id == action_id))
    if owner is None:
        raise NotFound(f"task {action_id} could not be found")
    try:
        server = hold(session, caller, owner)
    except NotFound as error:
        raise NotFound(f"task {action_id} could not be found") from error
    action = actions.unfinished(session, server.id)
    if action is not None:
        caller.hold(action.id, action.project_id, action.user_id)
    if action is None or action.id != action_id:
        raise Conflict(f"task {action_id} has ended", code="ended")
    if action.kind != "create" or action.stage not in ("schedule", "claim", "build"):
        raise Conflict(f"task {action_id} ({action.kind}) is past its cancelling", code="too_late")
    if action.direction == "undo":
        return action
    fault = Fault("cancelled", "cancelled on request before the server was committed to a host")
    fault = advised(fault, action.stage, None)
    endings.show_error(server, fault)
    action.args = action.args | {"cancelled": True}
    if action.stage == "build":
        actions.turn_back(session, action, server, "destroy", fault)
    else:
        server.fence += 1
        actions.finish(session, action, server, CANCELLED, fault)
    return action


def sync(session: Session, server: Server, request_id: str) -> Action | None:
    """Ask the server's host to report its power state; None when an action is in flight."""
    if server.host is None or actions.unfinished(session, server.id) is not None:
        return None
    asker = Caller(server.user_id, server.project_id, frozenset(), request_id)
    return _accept(session, asker, server, "sync", FIRST_STAGE["sync"], {})


def begin(session: Session, server: Server, kind: str, request_id: str) -> Action | None:
    """Start an action of the cloud's own on an idle server whose host came back: its guest is
    to be as it was, and its vm_state stays."""
    if server.host is None or actions.unfinished(session, server.id) is not None:
        return None
    asker = Caller(server.user_id, server.project_id, frozenset(), request_id)
    server.task_state = KINDS[kind].task_state
    return _accept(session, asker, server, kind, FIRST_STAGE[kind], {"restart": True})


def _affordable(session: Session, caller: Caller, wanted: NewServers) -> int:
    """Take quota for as many servers as fit, between min_count and max_count."""
    each = quotas.needs(wanted.flavor.resources, 1)
    used = quotas.held(session, caller.project_id, each)
    if session.scalar(select(Project.id).where(Project.id == caller.project_id)) is None:
        raise Forbidden(f"Project {caller.project_id} has just been deleted.")
    limits = quotas.limits(session, caller.project_id)
    room = [
        (limits[name] - used[name]) // amount
        for name, amount in each.items()
        if amount and limits[name] >= 0
    ]
    own = user_quotas.room(session, caller.project_id, caller.user_id)
    room += [own[name] // amount for name, amount in each.items() if amount and name in own]
    count = max(wanted.min_count, min([wanted.max_count, *room]))
    needed = quotas.needs(wanted.flavor.resources, count)
    user_quotas.check(own, needed)
    quotas.take(session, caller.project_id, needed)
    return count


def _new_server(caller: Caller, wanted: NewServers, number: int | None) -> Server:
    suffix = "" if number is None else f"-{number + 1}"
    name = wanted.name[: 255 - len(suffix)] + suffix
    size = wanted.flavor
    return Server(
        id=new_id(),
        project_id=caller.project_id,
        user_id=caller.user_id,
        name=name,
        description=wanted.description,
        hostname=wanted.hostname or hostname_of(name),
        vm_state=states.BUILDING,
        task_state="scheduling",
        flavor_id=size.id,
        flavor_name=size.name,
        vcpus=size.resources.vcpus,
        ram_mb=size.resources.ram_mb,
        disk_gb=size.resources.disk_gb,
        ephemeral_gb=size.ephemeral_gb,
        swap_mb=size.swap_mb,
        extra_specs=size.extra_specs,
        image_id=wanted.image_id,
        key_name=wanted.key_name,
        public_key=wanted.public_key,
        user_data=wanted.user_data,
        files=wanted.files,
        image_properties=wanted.image_properties,
        config_drive=wanted.config_drive,
        disk_config=wanted.disk_config,
        scheduler_hints=wanted.scheduler_hints,
        meta=wanted.metadata,
        availability_zone=wanted.availability_zone,
        forced_host=wanted.forced_host,
        access_ipv4=wanted.access_ipv4,
        access_ipv6=wanted.access_ipv6,
        fence=0,
        power_state=0,
    )


def hostname_of(name: str) -> str:
    """A host name made of a server's name: letters, digits and dashes, at most 63."""
    cleaned = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:63].strip("-")
    return cleaned or "server"


def _accept(
    session: Session, caller: Caller, server: Server, kind: str, stage: str, args: dict[str, Any]
) -> Action:
    server.fence += 1
    configured = settings()
    slow = kind in KINDS and KINDS[kind].slow
    in_place = kind not in ("create", "delete") and not slow
    action = Action(
        id=new_id(),
        server_id=server.id,
        project_id=server.project_id,
        user_id=caller.user_id,
        request_id=caller.request_id,
        kind=kind,
        args=args,
        state=states.QUEUED,
        stage=stage,
        direction="do",
        host=server.host if kind != "create" else None,
        next_ring_at=clock(session) + actions.FIRST_RING,
        deadline=clock(session)
        + (configured.inplace_deadline if in_place else configured.accept_deadline),
        stage_started_at=None if slow else clock(session),
        created_at=clock(session),
    )
    session.add(action)
    session.flush()
    actions.begin_event(session, action, server)
    return action


def hold(session: Session, caller: Caller, server_id: str) -> Server:
    """The caller's server, its row locked for a change. Raises NotFound."""
    server = session.scalars(
        select(Server).where(Server.id == server_id).with_for_update()
    ).one_or_none()
    return _own(caller, server, server_id)


def _own(caller: Caller, server: Server | None, server_id: str) -> Server:
    mine = server is not None and (server.project_id == caller.project_id or caller.is_admin)
    if server is None or not mine or server.deleted_at is not None:
        raise NotFound(f"Instance {server_id} could not be found.", code="not_found")
    caller.hold(server.id, server.project_id, server.user_id)
    return server


def check_unlocked(caller: Caller, server: Server) -> None:
    """Raises Conflict when the server is locked; administrators may change it all the same."""
    if server.locked and not caller.is_admin:
        raise Conflict(f"Instance {server.id} is locked", code="locked")


def pre_empt(session: Session, running: Action, server: Server, by: str) -> None:
    """End what runs, as cancelled; what its host may hold is the newcomer's to clean: a server
    keeps its host until that host has confirmed, or has become a cleanup.

    What the request changed goes back only if the host would have said that it began: in doubt,
    the guest may boot from what is new."""
    if running.stage_started_at is None and _would_have_told(session, running):
        actions.put_back(running, server)
    fault = Fault("pre_empted", f"taken over by a {by} of the same server")
    actions.finish(session, running, server, CANCELLED, fault)


def _would_have_told(session: Session, action: Action) -> bool:
    """Whether its host was heard of for so long after it could have begun that it surely did not.

    A row is sent again when its next ring is due: it was not sent later than that. Who was heard of
    `down_after` later without a word of it does not have it; while beats are not swept, all that
    is not told may have happened.
    """
    host = session.get(Host, action.host or "")
    sent = max(action.created_at, action.next_ring_at)
    return host is not None and host.state == UP and host.last_seen - sent > settings().down_after
