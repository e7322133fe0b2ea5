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


def test_four_of_ten_stale_hosts_are_doubted_and_three_are_not() -> None:
    hosts = [f"n{number}" for number in range(10)]
    for stale, told in ((3, hosts[:3]), (4, [])):
        watch = Watch(down_after=30)
        watch.look([beat(host, 1) for host in hosts], hosts, 0.0)
        living = [beat(host, 2) for host in hosts[stale:]]
        assert watch.look(living, hosts, 31.0)[1] == told


def test_hosts_that_are_down_already_neither_raise_nor_dilute_the_doubt() -> None:
    watch = Watch(down_after=30)
    hosts = [f"n{number}" for number in range(10)]
    watch.look([beat(host, 1) for host in hosts], hosts, 0.0)
    # Seven are known to be down: of the three that were alive two fell silent, which is no crowd.
    alive = hosts[:3]
    assert watch.look([beat("n0", 2)], alive, 31.0)[1] == ["n1", "n2"]


def test_the_doubt_begins_anew_after_hosts_have_answered() -> None:
    watch = Watch(down_after=30)
    hosts = [f"n{number}" for number in range(5)]
    watch.look([beat(host, 1) for host in hosts], hosts, 0.0)
    assert watch.look([], hosts, 31.0)[1] == []
    watch.look([beat(host, 2) for host in hosts], hosts, 200.0)
    assert watch.look([], hosts, 231.0)[1] == []
    assert watch.look([], hosts, 231.0 + GUARD_SECONDS - 1)[1] == []
    assert watch.look([], hosts, 231.0 + GUARD_SECONDS)[1] == hosts
