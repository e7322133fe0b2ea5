"""States of which a libvirtd that has just started tells an old one: a moment, so it is a fake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import libvirt
import pytest

from app.virt.libvirt import domain_state

RUNNING, PAUSED, OFF, ASLEEP = (
    libvirt.VIR_DOMAIN_RUNNING,
    libvirt.VIR_DOMAIN_PAUSED,
    libvirt.VIR_DOMAIN_SHUTOFF,
    libvirt.VIR_DOMAIN_PMSUSPENDED,
)


class Domain:
    """A domain of which libvirt says one state before it refuses a change, and another after."""

    def __init__(self, before: int, after: int) -> None:
        self.told, self.after, self.asked = before, after, 0

    def state(self) -> list[int]:
        return [self.told, 0]

    def _refuse(self, flags: int = 0) -> None:
        self.told = self.after
        self.asked += 1
        raise libvirt.libvirtError("it is so already")

    resume = suspend = shutdownFlags = pMWakeup = _refuse  # libvirt's names


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (domain_state.resume, PAUSED, RUNNING),
        (domain_state.pause, RUNNING, PAUSED),
        (domain_state.press_power_button, RUNNING, OFF),
        (domain_state.wake, ASLEEP, RUNNING),
    ],
)
def test_a_change_that_was_made_already_is_done(
    change: Callable[[Any], None], before: int, after: int
) -> None:
    domain = Domain(before, after)
    change(domain)
    assert domain.asked == 1


@pytest.mark.parametrize(
    ("change", "before"),
    [
        (domain_state.resume, PAUSED),
        (domain_state.pause, RUNNING),
        (domain_state.press_power_button, RUNNING),
        (domain_state.wake, ASLEEP),
    ],
)
def test_any_other_refusal_is_told(change: Callable[[Any], None], before: int) -> None:
    with pytest.raises(libvirt.libvirtError):
        change(Domain(before, before))


@pytest.mark.parametrize("change", [domain_state.resume, domain_state.pause])
def test_a_guest_that_is_off_is_left_so(change: Callable[[Any], None]) -> None:
    domain = Domain(OFF, OFF)
    change(domain)
    assert domain.asked == 0
