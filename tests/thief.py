"""Takes messages out of a broker's queues before their workers do: lost, or doubled."""

from __future__ import annotations

import json
import threading

from tests.cloud import Cloud, eventually


class Thief:
    """Waits at `queue` for its next message, ahead of the worker that waits there too.

    Redis serves who has waited longest: the workers' own waits are ended once, so that they
    queue up again behind this one. Only tasks called one of `names` are kept; the others are put
    back, and so is the waiting resumed.
    """

    def __init__(self, cloud: Cloud, queue: str, *names: str, seconds: float = 30.0) -> None:
        self._redis = cloud.redis()
        self._waiting = cloud.redis()
        self._waiting.connection_pool.connection_kwargs["socket_timeout"] = seconds + 5
        self.queue, self.names, self._seconds = queue, names, seconds
        self.loot: bytes | str | None = None
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()
        eventually(self._is_first, 5, f"a thief waits at {queue}")

    def _is_first(self) -> bool:
        own = self._own_id
        waiting = [
            one
            for one in self._redis.client_list()
            if "b" in one["flags"] and one["cmd"] == "brpop"
        ]
        if own not in {one["id"] for one in waiting}:
            return False
        for one in waiting:
            if one["id"] != own:
                self._redis.client_unblock(int(one["id"]))
        return True

    _own_id = ""

    def _wait(self) -> None:
        with self._waiting.client() as connection:
            self._own_id = str(connection.client_id())
            found = connection.brpop([self.queue], timeout=self._seconds)
            while found and self.names and _task(found[1]) not in self.names:
                # In one packet: whoever waits has it, and this is first in line again.
                both = connection.pipeline(transaction=False)
                both.rpush(self.queue, found[1])
                both.brpop([self.queue], timeout=self._seconds)
                found = both.execute()[1]
            self.loot = found[1] if found else None

    def stolen(self, seconds: float = 20.0) -> str:
        """Wait for the theft; the message as it lay in the queue."""
        return str(eventually(lambda: self.loot, seconds, f"a message of {self.queue}"))

    def put_back(self, times: int = 1) -> None:
        """Let the queue have it again, so many times."""
        for _ in range(times):
            self._redis.lpush(self.queue, self.stolen())


def _task(message: str) -> str:
    return str(json.loads(message)["headers"]["task"])
