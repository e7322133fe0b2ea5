"""How much waits in the control plane's own queues: into a long one nothing is rung again."""

from __future__ import annotations

from dataclasses import dataclass, field

from app import logs
from app.broker import queue_length
from app.tasks.board import AWAY

log = logs.get(__name__)
LIMIT = 500
"""Messages in a queue beyond which its stages are not rung: they wait, and are not lost."""


@dataclass
class Backlog:
    """The queues' lengths, each asked for once: for one pass of the sweep."""

    long: dict[str, bool] = field(default_factory=dict)

    def is_long(self, queue: str) -> bool:
        """Whether more than LIMIT messages wait there; not when that cannot be told."""
        if queue not in self.long:
            self.long[queue] = self._look(queue)
        return self.long[queue]

    def _look(self, queue: str) -> bool:
        try:
            length = queue_length(queue)
        except AWAY as error:
            log.warning("the length of a queue is not known", queue=queue, error=str(error))
            return False
        if length > LIMIT:
            log.warning("a queue is long: nothing is rung again", queue=queue, length=length)
        return length > LIMIT
