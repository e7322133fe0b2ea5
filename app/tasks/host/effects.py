"""What each host stage does: one driver call, and what its answer means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MethodType
from typing import Any

from app.domain.message import (
    ABSENT,
    DONE,
    NOT_COMMITTED,
    BuildPlan,
    HostMessage,
    ImageTarget,
    known,
)
from app.errors import Bug, HostFault
from app.failpoints import Step
from app.images import upload
from app.tasks.host.running import Running
from app.virt.driver import Driver

SEND = Step("snapshot.send")


@dataclass(frozen=True)
class Answer:
    """An effect's result (one of RESULTS), the guest's power state after it, what it found."""

    result: str = DONE
    power_state: int = 0
    found: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Effects:
    """The effects on one host; `shutdown_seconds` is how long a guest may take to shut down.

    `cloud_url`, unless empty, is where this host reaches the API, whatever messages say; `ca` has
    the certificates that it trusts there, unless public ones.
    """

    driver: Driver
    shutdown_seconds: float
    cloud_url: str = ""
    ca: Path | None = None

    def of(self, stage: str) -> Callable[[HostMessage, Running], Answer]:
        """The effect of that stage. Raises Bug for a stage that hosts do not have."""
        effect = getattr(self, stage, None)
        if stage.startswith("_") or stage == "of" or not isinstance(effect, MethodType):
            raise Bug(f"hosts have no stage {stage}")
        return effect

    def build(self, message: HostMessage, task: Running) -> Answer:
        """Build the guest and leave it paused."""
        guest = self.driver.spawn(self._with_image(message), task.cancel, task.report)
        return Answer(power_state=guest.power_state)

    def resume(self, message: HostMessage, task: Running) -> Answer:
        """Commit the guest and let it run."""
        try:
            guest = self.driver.commit(message.server_id, message.key.fence)
        except HostFault as error:
            if error.code == NOT_COMMITTED:
                return Answer(NOT_COMMITTED)
            raise
        return Answer(power_state=guest.power_state)

    def start(self, message: HostMessage, task: Running) -> Answer:
        """Run a guest that was shut off; a rescued one goes on so only after its host's restart."""
        own_disk = not message.args.get("restart")
        guest = self.driver.start(_plan(message), message.key.fence, own_disk)
        return Answer(power_state=guest.power_state)

    def stop(self, message: HostMessage, task: Running) -> Answer:
        """Shut the guest down, by force when it does not listen."""
        guest = self.driver.stop(
            message.server_id, message.key.fence, self.shutdown_seconds, task.cancel
        )
        return Answer(power_state=guest.power_state)

    def reboot(self, message: HostMessage, task: Running) -> Answer:
        """Reboot, hard when the kind says so."""
        hard = message.kind == "hard_reboot"
        guest = self.driver.reboot(_plan(message), message.key.fence, hard, task.cancel)
        return Answer(power_state=guest.power_state)

    def pause(self, message: HostMessage, task: Running) -> Answer:
        """Let the guest stand still."""
        restart = bool(message.args.get("restart"))
        guest = self.driver.pause(_plan(message), message.key.fence, restart)
        return Answer(power_state=guest.power_state)

    def unpause(self, message: HostMessage, task: Running) -> Answer:
        """Let the guest go on."""
        guest = self.driver.unpause(message.server_id, message.key.fence)
        return Answer(power_state=guest.power_state)

    def suspend(self, message: HostMessage, task: Running) -> Answer:
        """Save the guest's memory and end it."""
        guest = self.driver.suspend(message.server_id, message.key.fence, task.cancel)
        return Answer(power_state=guest.power_state)

    def wake(self, message: HostMessage, task: Running) -> Answer:
        """Let the guest go on from its saved memory."""
        guest = self.driver.wake(_plan(message), message.key.fence)
        return Answer(power_state=guest.power_state)

    def rebuild(self, message: HostMessage, task: Running) -> Answer:
        """Give the guest a new disk, and run it unless it was stopped."""
        plan, stay_off = self._with_image(message), bool(message.args.get("stay_off"))
        guest = self.driver.rebuild(plan, stay_off, task.cancel, task.report)
        return Answer(power_state=guest.power_state)

    def rescue(self, message: HostMessage, task: Running) -> Answer:
        """Run the guest from a rescue image."""
        guest = self.driver.rescue(self._with_image(message), task.cancel, task.report)
        return Answer(power_state=guest.power_state)

    def unrescue(self, message: HostMessage, task: Running) -> Answer:
        """Run the guest from its own disk again."""
        guest = self.driver.unrescue(_plan(message), message.key.fence)
        return Answer(power_state=guest.power_state)

    def snapshot(self, message: HostMessage, task: Running) -> Answer:
        """Copy the guest's disk, and send it to where images are kept."""
        server_id, fence = message.server_id, message.key.fence
        target = known(ImageTarget, message.args["upload"])
        if self.cloud_url:
            target = target.at(self.cloud_url)
        path = self.driver.snapshot(server_id, fence, task.cancel, task.report)
        try:
            with SEND:
                found = upload.send(target, path, task.cancel, task.report, self.ca)
        finally:
            self.driver.discard_snapshot(server_id, fence)
        guest = self.driver.find(server_id)
        return Answer(power_state=guest.power_state if guest else 0, found=found)

    def attach(self, message: HostMessage, task: Running) -> Answer:
        """Plug a NIC in."""
        port_id = str(message.args["port_id"])
        guest = self.driver.attach(_plan(message), message.key.fence, port_id)
        return Answer(power_state=guest.power_state)

    def detach(self, message: HostMessage, task: Running) -> Answer:
        """Take a NIC out."""
        port_id = str(message.args["port_id"])
        guest = self.driver.detach(_plan(message), message.key.fence, port_id, task.cancel)
        return Answer(power_state=guest.power_state)

    def password(self, message: HostMessage, task: Running) -> Answer:
        """Have the guest's agent set its administrator's password."""
        guest = self.driver.set_password(
            message.server_id, message.key.fence, message.args["user"], message.args["password"]
        )
        return Answer(power_state=guest.power_state)

    def crash_dump(self, message: HostMessage, task: Running) -> Answer:
        """Interrupt the guest so that it dumps its memory."""
        guest = self.driver.inject_nmi(message.server_id, message.key.fence)
        return Answer(power_state=guest.power_state)

    def destroy(self, message: HostMessage, task: Running) -> Answer:
        """Remove all that this host has of the server."""
        self.driver.destroy(message.server_id, message.key.fence)
        return Answer(ABSENT)

    def _with_image(self, message: HostMessage) -> BuildPlan:
        """The message's plan, its image from where this host reaches the API."""
        plan = _plan(message)
        if self.cloud_url and plan.image is not None:
            return replace(plan, image=plan.image.at(self.cloud_url))
        return plan

    def report(self, message: HostMessage, task: Running) -> Answer:
        """Only look: the journal has adopted the message's fence."""
        guest = self.driver.find(message.server_id)
        if guest is None:
            raise HostFault("the host has no such guest", code="guest_lost", retriable=False)
        return Answer(power_state=guest.power_state)


def _plan(message: HostMessage) -> BuildPlan:
    if message.plan is None:
        raise Bug(f"stage {message.key.stage} came without a plan")
    return message.plan
