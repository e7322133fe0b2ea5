"""When a host counts as stale, by the sweep's own clock."""

from __future__ import annotations

from app.tasks.board import Beat
from app.tasks.control.host_states import GUARD_SECONDS, Watch


def beat(host: str, seq: int) -> Beat:
    """A heartbeat."""
    return Beat(host, "cloud", f"uuid-{host}", "session", seq, True, 1)


def test_a_host_is_stale_when_its_beat_has_not_changed_for_too_long() -> None:
    watch = Watch(down_after=30)
    assert watch.look([beat("n1", 1)], ["n1"], 0.0) == ([beat("n1", 1)], [])
    assert watch.look([beat("n1", 1)], ["n1"], 30.0) == ([], [])
    assert watch.look([beat("n1", 1)], ["n1"], 30.1) == ([], ["n1"])
    assert watch.look([beat("n1", 2)], ["n1"], 31.0) == ([beat("n1", 2)], [])


def test_a_restart_forgets_how_long_it_was() -> None:
    watch = Watch(down_after=30)
    watch.look([beat("n1", 1)], ["n1"], 0.0)
    watch.restart(100.0)
    assert watch.look([beat("n1", 1)], ["n1"], 129.0)[1] == []
    assert watch.look([beat("n1", 1)], ["n1"], 131.0)[1] == ["n1"]


def test_two_of_three_hosts_are_declared_down() -> None:
    watch = Watch(down_after=30)
    hosts = ["n1", "n2", "n3"]
    watch.look([beat(host, 1) for host in hosts], hosts, 0.0)
    assert watch.look([beat("n3", 2)], hosts, 31.0)[1] == ["n1", "n2"]


def test_many_of_many_stale_hosts_are_doubted_for_five_minutes() -> None:
    watch = Watch(down_after=30)
    hosts = [f"n{number}" for number in range(10)]
    watch.look([beat(host, 1) for host in hosts], hosts, 0.0)
    assert watch.look([], hosts, 31.0)[1] == []
    assert watch.look([], hosts, 31.0 + GUARD_SECONDS - 1)[1] == []
    assert watch.look([], hosts, 31.0 + GUARD_SECONDS)[1] == hosts
