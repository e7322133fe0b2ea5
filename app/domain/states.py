"""Which request is legal in which state, and which states it moves through. One table.

The rules are Nova's (its API guards and status map); nothing else in Novella decides on
`vm_state` or `task_state`.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import Conflict

ACTIVE, BUILDING, STOPPED, PAUSED, SUSPENDED = (
    "active",
    "building",
    "stopped",
    "paused",
    "suspended",
)
ERROR, DELETED = "error", "deleted"
QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = (
    "queued",
    "running",
    "succeeded",
    "failed",
    "cancelled",
)

STATUS = {
    BUILDING: "BUILD",
    ACTIVE: "ACTIVE",
    STOPPED: "SHUTOFF",
    PAUSED: "PAUSED",
    SUSPENDED: "SUSPENDED",
    ERROR: "ERROR",
    DELETED: "DELETED",
}
STATUS_BY_TASK = {
    (ACTIVE, "rebooting"): "REBOOT",
    (ACTIVE, "rebooting_hard"): "HARD_REBOOT",
}


def status(vm_state: str, task_state: str | None) -> str:
    """Nova's `status` of a server in this state."""
    return STATUS_BY_TASK.get((vm_state, task_state or ""), STATUS.get(vm_state, "UNKNOWN"))


@dataclass(frozen=True)
class Kind:
    """One kind of request on an existing server.

    `vm_states` None means any; `busy` are the task states over which it may take, None any;
    `end` is the vm_state after success, None for "as before".
    """

    name: str
    vm_states: frozenset[str] | None
    task_state: str
    busy: frozenset[str] | None = frozenset()
    needs_host: bool = False
    needs_launch: bool = True
    end: str | None = None
    verb: str = ""

    def check(self, server_id: str, vm_state: str, task_state: str | None) -> None:
        """Raise Conflict, in Nova's words, when the states do not allow this kind."""
        verb = self.verb or self.name
        if self.vm_states is not None and vm_state not in self.vm_states:
            raise _wrong(verb, server_id, "vm_state", vm_state)
        if task_state is not None and self.busy is not None and task_state not in self.busy:
            raise _wrong(verb, server_id, "task_state", task_state)


CREATE = "create"
HARD_OVER = frozenset(
    {"rebooting", "rebooting_hard", "resuming", "unpausing", "pausing", "suspending"}
)
KINDS = {
    kind.name: kind
    for kind in (
        Kind("delete", None, "deleting", busy=None, needs_launch=False, end=DELETED),
        Kind("start", frozenset({STOPPED}), "powering-on", needs_host=True, end=ACTIVE),
        Kind("stop", frozenset({ACTIVE, ERROR}), "powering-off", needs_host=True, end=STOPPED),
        Kind("reboot", frozenset({ACTIVE}), "rebooting", end=ACTIVE),
        Kind(
            "hard_reboot",
            frozenset({ACTIVE, STOPPED, PAUSED, SUSPENDED, ERROR}),
            "rebooting_hard",
            busy=HARD_OVER,
            end=ACTIVE,
            verb="reboot",
        ),
    )
}


LABELLED = frozenset({ACTIVE, STOPPED, PAUSED, SUSPENDED})


def check_label(verb: str, server_id: str, vm_state: str, task_state: str | None) -> None:
    """Raise Conflict, in Nova's words, when a server's metadata and tags cannot be changed.

    Any task may run meanwhile but the server's deletion.
    """
    if vm_state not in LABELLED:
        raise _wrong(verb, server_id, "vm_state", vm_state)
    if task_state == "deleting":
        raise _wrong(verb, server_id, "task_state", task_state)


def _wrong(verb: str, server_id: str, column: str, value: str) -> Conflict:
    return Conflict(
        f"Cannot '{verb}' instance {server_id} while it is in {column} {value}",
        code="wrong_state",
    )


def kind_of(request: str, args: dict[str, str]) -> Kind:
    """The kind that a request means: a reboot with type HARD is one of its own."""
    if request == "reboot" and args.get("type", "SOFT").upper() == "HARD":
        return KINDS["hard_reboot"]
    return KINDS[request]
