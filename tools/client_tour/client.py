"""The stock client, one command at a time, and what it printed."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openstackclient import shell

_PROGRESS = re.compile(r"\A\s*(Progress: \d+\s*)*")


def preload() -> None:
    """Import every command's module once, and have cliff look once for whose command each is:
    forks would do so for each command anew.
    """
    distribution = importlib.metadata.distribution("python-openstackclient")
    commands = [one for one in distribution.entry_points if one.group.startswith("openstack.")]
    for module in {command.module for command in commands}:
        importlib.import_module(module)
    whoever = next(one for one in commands if one.name == "token_issue")
    whoever.load()(None, None).get_parser("")


class Failed(Exception):
    """A command that ended badly, with what it printed."""


@dataclass
class Client:
    """Runs commands as the member or (`admin=True`) the administrator; keeps the keys it saw."""

    member: str
    administrator: str
    prefix: str
    flavor: str
    image: Path
    folder: Path
    seen: dict[str, list[str]] = field(default_factory=dict)
    count: int = 0
    _undo: list[Callable[[], object]] = field(default_factory=list)

    def name(self, what: str) -> str:
        """A name of the tour's own."""
        return f"{self.prefix}-{what}"

    def run(self, step: str, command: str, *, admin: bool = False) -> Any:
        """Run `command`, note the keys of its JSON under `step`, and return the JSON.

        Raises Failed when it exits with anything but 0 or prints no JSON.
        """
        text = self.plain(f"{command} -f json", admin=admin)
        try:
            # While it waits it prints its progress, before the JSON and on the same stream.
            shown = json.loads(_PROGRESS.sub("", text))
        except ValueError as error:
            raise Failed(f"openstack {command}: no JSON but {text[:200]!r}") from error
        first = shown[0] if isinstance(shown, list) and shown else shown
        if isinstance(shown, list) and not shown:
            raise Failed(f"openstack {command}: an empty list shows no keys")
        self.seen[step] = sorted(first)
        return shown

    def plain(self, command: str, *, admin: bool = False, refused: bool = False) -> str:
        """Run a command that prints no JSON; `refused` ones must fail."""
        cloud = self.administrator if admin else self.member
        self.count += 1
        status, out, err = self._in_a_child(["--os-cloud", cloud, *shlex.split(command)])
        if bool(status) != refused:
            ended = f"ended with {status}: {err.strip()[-600:]}"
            raise Failed(f"openstack {command} (as {cloud}): {ended}")
        return err if refused else out

    def _in_a_child(self, argv: list[str]) -> tuple[int, str, str]:
        """Exit status, output and errors of the client in a forked process.

        Forked, since the client keeps connections of its first command for all later ones.
        """
        out, err = self.folder / "stdout", self.folder / "stderr"
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for number, path in ((1, out), (2, err)):
                    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
                status = shell.main(argv) or 0
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(ended), out.read_text(), err.read_text()

    def later(self, command: str, *, admin: bool = False) -> None:
        """Run `command` at the end, in reverse order, whether or not it is still needed."""

        def undo() -> None:
            with contextlib.suppress(Failed):
                self.plain(command, admin=admin)

        self._undo.append(undo)

    def tidy(self) -> None:
        """Delete what was made."""
        while self._undo:
            self._undo.pop()()

    def until(self, what: str, check: Callable[[], bool], seconds: float) -> None:
        """Poll until `check` holds. Raises Failed after `seconds`."""
        deadline = time.monotonic() + seconds
        while not check():
            if time.monotonic() > deadline:
                raise Failed(f"{what}: not within {seconds:.0f} s")
            time.sleep(0.5)
