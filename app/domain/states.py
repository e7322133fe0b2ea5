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
RESCUED, ERROR, DELETED, SOFT_DELETED = "rescued", "error", "deleted", "soft-delete"
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
    RESCUED: "RESCUE",
    ERROR: "ERROR",
    DELETED: "DELETED",
    SOFT_DELETED: "SOFT_DELETED",
}
STATUS_BY_TASK = {
    (ACTIVE, "rebooting"): "REBOOT",
    (ACTIVE, "rebooting_hard"): "HARD_REBOOT",
    (ACTIVE, "updating_password"): "PASSWORD",
    (ACTIVE, "rebuilding"): "REBUILD",
    (STOPPED, "rebuilding"): "REBUILD",
    (ERROR, "rebuilding"): "REBUILD",
}
LABELLED = frozenset({ACTIVE, STOPPED, PAUSED, SUSPENDED})
"""Where metadata and tags may change, and images be made."""
WITH_GUEST = frozenset({ACTIVE, STOPPED, PAUSED, SUSPENDED, RESCUED})
"""Where an idle server's host must have a guest of it."""


def status(vm_state: str, task_state: str | None) -> str:
    """Nova's `status` of a server in this state."""
    return STATUS_BY_TASK.get((vm_state, task_state or ""), STATUS.get(vm_state, "UNKNOWN"))


@dataclass(frozen=True)
class Kind:
    """One kind of request on an existing server; `stage` is where its workflow starts.

    `vm_states` None means any; `busy` are the task states over which it may take, None any;
    `end` is the vm_state after success, None for "as before". With `task_state` None it shows in
    no task state, as in Nova, but is the server's one action all the same. A `slow` one has
    hours, not minutes; one that is not `guarded` is allowed on locked servers.
    """

    name: str
    stage: str
    vm_states: frozenset[str] | None
    task_state: str | None
    busy: frozenset[str] | None = frozenset()
    needs_host: bool = False
    needs_launch: bool = True
    end: str | None = None
    verb: str = ""
    slow: bool = False
    guarded: bool = True

    def check(self, server_id: str, vm_state: str, task_state: str | None) -> None:
        """Raise Conflict, in Nova's words, when the states do not allow this kind."""
        verb = self.verb or self.name
        if self.vm_states is not None and vm_state not in self.vm_states:
            raise _wrong(verb, server_id, "vm_state", vm_state)
        if task_state is not None and self.busy is not None and task_state not in self.busy:
            raise _wrong(verb, server_id, "task_state", task_state)

    def check_takes_over(self, server_id: str, running: str) -> None:
        """Raise Conflict when a request of the kind `running` goes on that shows no task state."""
        if self.busy is not None and running in SILENT:
            raise _wrong(self.verb or self.name, server_id, "task_state", running)


CREATE = "create"
HARD_OVER = frozenset(
    {"rebooting", "rebooting_hard", "resuming", "unpausing", "pausing", "suspending"}
)
_BOOTABLE = frozenset({ACTIVE, STOPPED, ERROR})
_PLUGGABLE = frozenset({ACTIVE, PAUSED, STOPPED})
_ACTIVE, _RUNS = frozenset({ACTIVE}), frozenset({ACTIVE, PAUSED, RESCUED, ERROR})
KINDS = {
    kind.name: kind
    for kind in (
        Kind("delete", "destroy", None, "deleting", busy=None, needs_launch=False, end=DELETED),
        Kind("start", "start", frozenset({STOPPED}), "powering-on", needs_host=True, end=ACTIVE),
        Kind(
            "stop",
            "stop",
            frozenset({ACTIVE, ERROR}),
            "powering-off",
            needs_host=True,
            end=STOPPED,
        ),
        Kind("reboot", "reboot", _ACTIVE, "rebooting", end=ACTIVE),
        Kind(
            "hard_reboot",
            "reboot",
            frozenset({ACTIVE, STOPPED, PAUSED, SUSPENDED, ERROR}),
            "rebooting_hard",
            busy=HARD_OVER,
            end=ACTIVE,
            verb="reboot",
        ),
        Kind("pause", "pause", _ACTIVE, "pausing", end=PAUSED),
        Kind("unpause", "unpause", frozenset({PAUSED}), "unpausing", end=ACTIVE),
        Kind("suspend", "suspend", _ACTIVE, "suspending", end=SUSPENDED),
        Kind("resume", "wake", frozenset({SUSPENDED}), "resuming", end=ACTIVE),
        Kind("rebuild", "rebuild", _BOOTABLE, "rebuilding", end=ACTIVE, slow=True),
        Kind("rescue", "rescue", _BOOTABLE, "rescuing", end=RESCUED, slow=True),
        Kind("unrescue", "unrescue", frozenset({RESCUED}), "unrescuing", end=ACTIVE),
        Kind(
            "createImage",
            "snapshot",
            LABELLED,
            "image_snapshot_pending",
            slow=True,
            guarded=False,
        ),
        Kind("createBackup", "snapshot", LABELLED, "image_backup", slow=True, guarded=False),
        Kind("changePassword", "password", _ACTIVE, "updating_password", end=ACTIVE),
        Kind("attach_interface", "attach", _PLUGGABLE, None),
        Kind("detach_interface", "detach", _PLUGGABLE, None),
        Kind("trigger_crash_dump", "crash_dump", _RUNS, None, needs_host=True),
    )
}
SILENT = frozenset(kind.name for kind in KINDS.values() if kind.task_state is None)
RESTORE = Kind("restore", "", frozenset({SOFT_DELETED}), None)
"""There is no soft delete here, so it is refused in every state."""


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
