"""What a run does, made of its seed alone: when what is struck, and what each client asks for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from random import Random

CYCLE_SECONDS = 60.0
OVERTIME_SECONDS = 18.0
"""The last blow may end so long after the last request."""
HANG_SECONDS = 20.0
RETURN_SECONDS = 4.0
"""From the return of hosts to the next hang of Redis."""
LONG_RUN_SECONDS, LONG_CYCLE_SECONDS = 360.0, 75.0
HOSTS_PER_WORKER = 3
"""Two workers of 20 hosts are 30 % of them: more would be us rather than them (see the Watch)."""
SIZES, SIZE_WEIGHTS = (1, 2, 3, 4, 6, 8), (35, 20, 15, 12, 10, 8)
MUTATIONS = {
    "cas": "scheduler",
    "ring": "scheduler",
    "paused": "hosts",
    "journal": "hosts",
    "session": "hosts",
}
"""Which safeguard can be taken away (see `tests.chaos.mutant`), and whose it is."""
LOCAL = {"libvirtd_kill", "network_cut", "host_short", "host_long", "host_hang"}
"""Kinds of blow that strike one worker's hosts only."""


@dataclass(frozen=True)
class Options:
    """What the command line said. `wait` bounds the seconds until all must have ended."""

    minutes: float = 3.0
    seed: int = 1
    database: str = "sqlite"
    broker: str = "redis"
    real: bool = False
    hosts: int = 20
    chain: bool = True
    mutate: str = ""
    wait: float = 330.0

    @property
    def seconds(self) -> float:
        """How long clients ask and things are struck."""
        return self.minutes * 60.0

    @property
    def workers(self) -> int:
        """Host workers: one for each real host, one for three fake ones."""
        return self.hosts if self.real else -(-self.hosts // HOSTS_PER_WORKER)

    def mutates(self, role: str) -> bool:
        """Whether the workers of this role run without a safeguard."""
        return MUTATIONS.get(self.mutate) == role

    @property
    def clients(self) -> int:
        """How many clients ask at a time."""
        return 4 if self.real else 56


@dataclass(frozen=True)
class Blow:
    """One thing that is broken: `at` seconds from the start, for `lasts`; `victim` by number."""

    at: float
    kind: str
    victim: int = 0
    lasts: float = 0.0


@dataclass(frozen=True)
class Life:
    """The servers of one create: how many, what each goes through, and how it is deleted.

    `early`: deleted so many seconds after the create, whatever is done to them by then.
    `hasty`: deleted while the last step still runs. `patience`: seconds that its client waits
    for each task before it deletes the server all the same.
    """

    size: int
    early: float | None
    steps: tuple[tuple[str, ...], ...]
    hasty: bool
    patience: float


def blows(options: Options) -> list[Blow]:
    """All blows of a run, in the order of their times; each kind once in each cycle.

    With real hosts, of the three long absences only one a cycle: one host must stay.
    """
    random = Random(f"{options.seed}/blows")
    length = CYCLE_SECONDS if options.seconds < LONG_RUN_SECONDS else LONG_CYCLE_SECONDS
    cycles = max(1, int(options.seconds // length))
    length = (options.seconds + OVERTIME_SECONDS) / cycles
    made: list[Blow] = []
    for number in range(cycles):
        begin = number * length
        made += [
            Blow(round(begin + one.at, 2), one.kind, one.victim, round(one.lasts, 2))
            for one in _cycle(options, random, number, length)
        ]
    return sorted(made, key=lambda blow: blow.at)


def _cycle(options: Options, random: Random, number: int, length: float) -> Iterator[Blow]:
    """One cycle: absences long enough for hosts to be declared down, then a hung Redis.

    A Redis that lost its data or hung resets the sweeps' clocks, so these stand apart; and
    the hosts have some seconds for their return, and some more, after the hang, to come upon
    their old queues. A worker that hangs does so at a busy moment, before Redis hung, with
    builds in their middle.
    """
    back = length - HANG_SECONDS - RETURN_SECONDS
    victims = random.sample(range(options.workers), min(3, options.workers))
    yield Blow(3.0, "redis_flush")
    yield Blow(3.5, "redis_kill", lasts=random.uniform(0.2, 0.5))
    if options.real:
        long = ("host_long", "network_cut", "host_hang")[number % 3]
        yield Blow(4.5, long, victims[0], back - 4.5 + random.uniform(0.0, 0.5))
        # While the other host's row still says "up": without any host creates end at once.
        yield Blow(6.0, "libvirtd_kill", victims[-1], random.uniform(0.2, 2.0))
    else:
        yield Blow(4.5, "host_long", victims[0], back - 4.5 + random.uniform(0.0, 0.5))
        stops = 5.0 if number == 0 else -HANG_SECONDS - 1.0
        yield Blow(stops, "host_hang", victims[1], back - stops + random.uniform(0.0, 0.5))
    yield Blow(random.uniform(5.5, 7.0), "messages", lasts=8.0)
    yield from _short(options, random, victims[-1])
    yield Blow(length - HANG_SECONDS, "redis_hang", lasts=HANG_SECONDS)


def _short(options: Options, random: Random, other: int) -> Iterator[Blow]:
    """What is over within seconds, at random moments of the long absences."""
    kinds = ["web", "scheduler", "host_short"]
    kinds += ["database"] if options.database == "postgresql" else []
    kinds += ["rabbitmq_kill"] if options.broker == "rabbitmq" else []
    random.shuffle(kinds)
    gap = 26.0 / len(kinds)
    for place, kind in enumerate(kinds):
        at = 7.0 + gap * place + random.uniform(0.0, gap / 2)
        victim = random.randrange(2) if kind == "scheduler" else other
        yield Blow(at, kind, victim, random.uniform(0.2, 2.0))


def lives(options: Options, client: int) -> Iterator[Life]:
    """What one client does, one after the other, without end."""
    random = Random(f"{options.seed}/client/{client}")
    while True:
        size = random.choice((1, 1, 2)) if options.real else _size(random)
        early = random.uniform(0.0, 2.0) if random.random() < 0.2 else None
        steps = tuple(_steps(random) for _ in range(size))
        hasty, patience = random.random() < 0.3, random.choice((15.0, 90.0))
        yield Life(size, early, steps, hasty, patience)


def _size(random: Random) -> int:
    return random.choices(SIZES, SIZE_WEIGHTS)[0]


def _steps(random: Random) -> tuple[str, ...]:
    steps, runs = [], True
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        step = random.choice(("stop", "reboot", "hard_reboot") if runs else ("start", "start"))
        runs = {"stop": False, "start": True}.get(step, runs)
        steps.append(step)
    return tuple(steps)


def fingerprint(options: Options) -> str:
    """A short hash of all that the seed decides, to see that two runs had the same plan."""
    asked = [
        [asdict(next(stream)) for _ in range(50)]
        for stream in (lives(options, client) for client in range(options.clients))
    ]
    planned = [[asdict(blow) for blow in blows(options)], asked]
    return hashlib.sha256(json.dumps(planned).encode()).hexdigest()[:12]
