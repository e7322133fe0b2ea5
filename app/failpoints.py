"""Places where the tests can make a process die, as if by kill -9. Never set in production.

The setting `failpoints` names a directory. A file in it, named like a moment (`build.before`,
`spawn.disk.after`), is removed and the process exits when it next reaches that moment; a file
`reached` gets a line for each moment that is reached. Without the setting nothing is looked at.
"""

from __future__ import annotations

import os
from types import TracebackType

from app.config import settings
from app.errors import Bug

EXIT_CODE = 137
TRACE = "reached"
STEPS: dict[str, Step] = {}
"""Every step of the program by name, as far as its modules are imported."""


class Step:
    """A piece of work, once for each place: `with DISK: ...` can die before it and after it."""

    def __init__(self, name: str) -> None:
        """Register the step. Raises Bug when there is one of that name."""
        if name in STEPS:
            raise Bug(f"two steps are called {name}")
        self.name = name
        STEPS[name] = self

    @property
    def moments(self) -> tuple[str, str]:
        """Where it can die."""
        return f"{self.name}.before", f"{self.name}.after"

    def __enter__(self) -> None:
        reach(self.moments[0])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            reach(self.moments[1])


def reach(moment: str) -> None:
    """Die here, once, if the tests asked for it."""
    directory = settings().failpoints
    if directory is None:
        return
    trace = directory / TRACE
    if trace.exists():
        with trace.open("a") as lines:
            lines.write(f"{moment}\n")
    try:
        (directory / moment).unlink()
    except FileNotFoundError:
        return
    os._exit(EXIT_CODE)
