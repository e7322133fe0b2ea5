"""Heartbeats into host states, timed by each sweep's own monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.tasks.board import Beat

GUARD_HOSTS, GUARD_SHARE, GUARD_SECONDS = 4, 0.3, 300.0


@dataclass
class Watch:
    """When each host's beat last changed, seen from here.

    `restart` starts every timer anew: after a failed Redis read, a gap in the loop, or lost
    data nothing is known about the time before.
    """

    down_after: float
    seen: dict[str, tuple[str, int, float]] = field(default_factory=dict)
    guarded_since: float | None = None

    def restart(self, now: float) -> None:
        """Start all timers at `now`."""
        self.seen = {host: (beat, seq, now) for host, (beat, seq, _) in self.seen.items()}
        self.guarded_since = None

    def look(self, beats: list[Beat], known: list[str], now: float) -> tuple[list[Beat], list[str]]:
        """The beats that are new since the last look, and the known hosts that went stale.

        While at least four hosts and over 30 % of all look stale, none is given as stale, for
        at most five minutes: it is rather us than them.
        """
        fresh = []
        for beat in beats:
            mark = (beat.session, beat.seq)
            if self.seen.get(beat.host, ("", -1, 0.0))[:2] != mark:
                self.seen[beat.host] = (*mark, now)
                fresh.append(beat)
        for host in known:
            self.seen.setdefault(host, ("", -1, now))
        stale = [host for host in known if now - self.seen[host][2] > self.down_after]
        if len(stale) >= GUARD_HOSTS and len(stale) > GUARD_SHARE * len(known):
            self.guarded_since = self.guarded_since or now
            if now - self.guarded_since < GUARD_SECONDS:
                return fresh, []
        else:
            self.guarded_since = None
        return fresh, stale
