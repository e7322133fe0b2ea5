"""The `novella` command. A file per noun; this one puts them together.

Exit codes: 0 done, 1 it failed (one line on standard error says what to do), 2 wrong usage,
3 a wait ran into its time limit.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from app.cli.lazy import LazyGroup
from app.errors import NovellaError
from app.redaction import redact_text

_COMMANDS = {
    "db": ("app.cli.db", "db"),
    "host": ("app.cli.host", "host"),
    "task": ("app.cli.task", "task"),
    "status": ("app.cli.status", "status"),
    "policy": ("app.web.policy.commands", "command"),
    "doctor": ("app.cli.doctor.commands", "doctor"),
    "simulate": ("app.cli.simulate.commands", "simulate"),
    "backup": ("app.cli.backup.commands", "backup"),
    "restore": ("app.cli.backup.commands", "restore"),
    "up": ("app.cli.local.up", "up"),
    "down": ("app.cli.local.down", "down"),
}


class _Commands(LazyGroup):
    """Turns our errors into one line."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NovellaError as error:
            cause = getattr(error.__cause__, "orig", None)
            detail = f" ({redact_text(str(cause).strip().splitlines()[0])})" if cause else ""
            raise click.ClickException(error.message + detail) from error


@click.group(
    cls=_Commands, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML).")
def main(config: Path | None) -> None:
    """Operate a Novella cloud."""
    if config is not None:
        os.environ["NOVELLA_CONFIG"] = str(config)
    elif "NOVELLA_CONFIG" not in os.environ:
        from app.cli.local.place import default_state_dir

        # Bare environment: the cloud that bin/up made here, when there is one.
        found = (default_state_dir(os.environ) or Path()) / "novella.toml"
        if found.is_file():
            os.environ["NOVELLA_CONFIG"] = str(found)
