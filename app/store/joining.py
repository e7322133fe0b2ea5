"""May a machine be the host that it says?"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.models import Host
from app.store import hosts

ABSENT = "absent"


def admit(session: Session, name: str, uuid: str, known: bool) -> None:
    """Raises Conflict when the machine `uuid` cannot be the host `name`.

    `known`: the machine has joined before and remembers it. One that does not, while a host of
    its name and uuid is up, is a copy of that host.
    """
    host = hosts.get(session, name)
    if host is None:
        other = session.scalar(select(Host.name).where(Host.uuid == uuid))
        if other is not None:
            raise _taken(
                f"This machine ({uuid}) is the host {other} already: use that name; if it is a "
                f"copy of {other}, give its libvirtd another host_uuid (libvirtd.conf)."
            )
        return
    if host.uuid != uuid:
        raise _taken(
            f"The name {name} belongs to the machine {host.uuid}, and this is {uuid}: choose "
            "another with --name."
        )
    if not known and host.state in (hosts.UP, hosts.RECONCILING):
        raise _taken(
            f"The host {name} is {host.state} now, and this machine says that it never joined. If "
            "it is a copy, give it another --name and its libvirtd another host_uuid "
            "(libvirtd.conf). If it is the same machine, stop the worker that runs there, wait "
            "until `novella host list` shows it down, and try again."
        )


def standing(session: Session, name: str, uuid: str) -> str:
    """The host's state, or ABSENT before it has registered. Raises Conflict like `admit`."""
    admit(session, name, uuid, known=True)
    host = hosts.get(session, name)
    if host is None:
        return ABSENT
    return "forced_down" if host.forced_down else host.state


def _taken(message: str) -> Conflict:
    return Conflict(message, code="host_name_taken")
