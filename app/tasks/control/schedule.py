"""Stage `schedule`: choose hosts for every server of a request that still stands there."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.config import settings
from app.domain.advice import advised
from app.domain.message import Fault
from app.domain.request_spec import RequestSpec
from app.domain.resources import Resources
from app.models import Action, Host, Server
from app.scheduler.host_table import HostRow, HostTable
from app.scheduler.select import Selection, select
from app.store import actions, endings, hosts
from app.tasks import messages

NO_VALID_HOST = "no_valid_host"


def schedule(session: Session, request_id: str) -> list[Action]:
    """Move the request's actions on to `claim` with their selections; those that fit nowhere end.

    Returns the actions that ended. Servers of one request differ only in the hosts that they
    must avoid, so each set of those is one decision.
    """
    held = actions.hold_request(session, request_id, "schedule")
    if not held:
        return []
    table = HostTable([_row(host) for host in hosts.all_hosts(session)])
    ended: list[Action] = []
    for tried, group in _by_tried(session, held).items():
        spec = _spec(group[0][1], tried)
        selection = select(table, spec, len(group), settings().alternates)
        ended += _decide(session, group, selection)
    return ended


def _decide(
    session: Session, group: list[tuple[Action, Server]], selection: Selection
) -> list[Action]:
    fits = len(selection.picks)
    if fits < _min_count(session, group):
        fits = 0
    for (action, server), pick in zip(group, selection.picks[:fits], strict=False):
        action.selection = pick
        action.placement = {"refused": selection.refused, "hosts": selection.hosts}
        actions.end_event(session, action)
        actions.enter(session, action, server, "claim")
    for action, server in group[fits:]:
        fault = _no_valid_host(action, selection)
        action.placement = {"refused": selection.refused, "hosts": selection.hosts}
        endings.unplaced(session, action, server)
        endings.broken(session, action, server, fault)
    return [action for action, _ in group[fits:]]


def _min_count(session: Session, group: list[tuple[Action, Server]]) -> int:
    """How many must fit: judged over those not deleted meanwhile, until one has been placed."""
    first = group[0][0]
    wanted = min(int(first.args.get("min_count", 1)), len(group))
    return wanted if wanted > 1 and not actions.has_been_placed(session, first.request_id) else 1


def _no_valid_host(action: Action, selection: Selection) -> Fault:
    tries = f" after {action.tries} failed" if action.tries else ""
    fault = Fault(NO_VALID_HOST, f"No valid host was found{tries}. {selection.sentence()}")
    return advised(fault, "schedule", ", ".join(action.tried) or None)


def _by_tried(
    session: Session, held: list[tuple[Action, Server]]
) -> dict[frozenset[str], list[tuple[Action, Server]]]:
    groups: dict[frozenset[str], list[tuple[Action, Server]]] = {}
    for action, server in held:
        avoid = set(action.tried) | hosts.owing_cleanup(session, server.id)
        groups.setdefault(frozenset(avoid), []).append((action, server))
    return groups


def _spec(server: Server, tried: frozenset[str]) -> RequestSpec:
    return RequestSpec(
        Resources(server.vcpus, server.ram_mb, server.disk_gb),
        zone=server.availability_zone,
        forced_host=server.forced_host,
        tried=tried,
    )


def _row(host: Host) -> HostRow:
    return HostRow(
        name=host.name,
        zone=host.zone,
        usable=hosts.usable(host) and messages.understands(host),
        limit=Resources(
            int(host.vcpus * host.cpu_ratio),
            int((host.ram_mb - host.reserved_ram_mb) * host.ram_ratio),
            int(host.disk_gb * host.disk_ratio),
        ),
        used=Resources(host.used_vcpus, host.used_ram_mb, host.used_disk_gb),
        failed_builds=host.failed_builds,
    )
