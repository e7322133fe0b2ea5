"""Finding a fake hypervisor's guests, and telling who listens what became of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

from app.config import Settings
from app.domain.guest import Guest
from app.errors import HostFault
from app.virt.driver import Listener
from app.virt.fake_host import FakeGuest, FakeHost, FakeState
from app.virt.faults import Faults


class FakeGuests:
    """One cloud's guests on one fake host."""

    def __init__(self, host_name: str, cloud_id: str, settings: Settings) -> None:
        self.host_name = host_name
        self.cloud_id = cloud_id
        self._address = settings.host_address or "127.0.0.1"
        self._delay = settings.fake_delay
        self._traits = settings.host_traits.replace(",", " ").split()
        self._faults = Faults(settings.fake_faults, host_name)
        self._host = FakeHost(settings.path("hosts", host_name, "fake.json"))
        self._listeners: list[Listener] = []

    def _set_power(self, server_id: str, power_state: int, event: str) -> None:
        with self._host.change() as state:
            guest = self._find(state, server_id)
            if guest is None:
                return
            guest.power_state = power_state
        self._tell(server_id, event, power_state)

    def _committed(self, state: FakeState, server_id: str, fence: int) -> FakeGuest:
        guest = self._find(state, server_id)
        if guest is None:
            raise HostFault(f"no guest of {server_id} here", code="no_guest", retriable=False)
        if not guest.committed:
            raise HostFault(f"guest of {server_id} is not committed", code="not_committed")
        check_fence(guest, fence)
        return guest

    def _find(self, state: FakeState, server_id: str) -> FakeGuest | None:
        guest = state.guests.get(server_id)
        return guest if guest and self._ours(guest) else None

    def _ours(self, guest: FakeGuest) -> bool:
        return guest.cloud_id == self.cloud_id

    def _key(self, server_id: str) -> str:
        return f"{self.cloud_id}/{server_id}"

    def _names(self, entries: dict[str, int]) -> tuple[str, ...]:
        keys = (key.rpartition("/") for key in list(entries))
        return tuple(name for cloud, _, name in keys if cloud == self.cloud_id)

    def _tell(self, server_id: str, event: str, power_state: int) -> None:
        for listener in self._listeners:
            _dispatcher().submit(listener, server_id, event, power_state)


@cache
def _dispatcher() -> ThreadPoolExecutor:
    """One thread for the events of all fake hosts of the process."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="fake-events")


def shown(fake: FakeGuest) -> Guest:
    """The guest as the contract has it."""
    return Guest(
        fake.server_id, fake.fence, fake.committed, fake.applied, fake.power_state, fake.rescue
    )


def check_fence(guest: FakeGuest, fence: int) -> None:
    """Refuse to touch a guest that a newer request has reached."""
    if max(guest.fence, guest.applied) > fence:
        raise newer(guest.server_id, max(guest.fence, guest.applied), fence)


def newer(server_id: str, known: int, fence: int) -> HostFault:
    """What a late request gets."""
    message = f"server {server_id} is at fence {known} here, not {fence}"
    return HostFault(message, code="newer_fence", retriable=False)
