"""A start that libvirtd refuses for a moment: it cannot be provoked, so the domain is a fake."""

from __future__ import annotations

import libvirt
import pytest

from app.virt.libvirt import starting

REMOVED = "operation failed: binding 'vnet0' is already being removed"


class Refusing:
    """A domain whose first starts fail."""

    def __init__(self, *errors: libvirt.libvirtError) -> None:
        self.errors, self.starts = list(errors), 0

    def state(self) -> list[int]:
        return [libvirt.VIR_DOMAIN_SHUTOFF, 0]

    def isActive(self) -> bool:  # libvirt's name
        return False

    def name(self) -> str:
        return "novella-nobody"

    def createWithFlags(self, flags: int) -> None:  # libvirt's name
        self.starts += 1
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture(autouse=True)
def _an_earlier_error() -> None:
    """An error made by hand takes the words of the thread's last one, of whichever test it was."""
    with pytest.raises(libvirt.libvirtError):
        libvirt.open("test:///nowhere")


def refusal(code: int, text: str) -> libvirt.libvirtError:
    error = libvirt.libvirtError(text)
    error.args = (text,)
    error.err = (code, 0, text, 2, None, None, None, 0, 0)
    return error


def test_a_link_whose_filter_is_being_removed_is_waited_for() -> None:
    domain = Refusing(*[refusal(libvirt.VIR_ERR_OPERATION_FAILED, REMOVED) for _ in range(2)])
    starting.create(domain, 0)
    assert domain.starts == 3


def test_it_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "SETTLE_SECONDS", 0.5)
    domain = Refusing(*[refusal(libvirt.VIR_ERR_OPERATION_FAILED, REMOVED) for _ in range(99)])
    with pytest.raises(libvirt.libvirtError, match="already being removed"):
        starting.create(domain, 0)
    assert domain.starts < 10


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (libvirt.VIR_ERR_OPERATION_FAILED, "operation failed: no room"),
        (libvirt.VIR_ERR_INTERNAL_ERROR, REMOVED),
    ],
)
def test_any_other_refusal_ends_the_start_at_once(code: int, text: str) -> None:
    domain = Refusing(refusal(code, text))
    with pytest.raises(libvirt.libvirtError):
        starting.create(domain, 0)
    assert domain.starts == 1
