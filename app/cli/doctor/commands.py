"""The command."""

from __future__ import annotations

import sys
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from app.cli.doctor.examination import Examination, Report
from app.cli.doctor.images import ImageCheck
from app.cli.output import as_json, print_json
from app.config import settings
from app.errors import Unavailable
from app.redaction import redact_text

WRONG, NOT_CHECKED = 1, 2


@click.command()
@as_json
@click.option("--fix", is_flag=True, help="Heal what is safe to heal.")
@click.option("--deep", is_flag=True, help="Sum large image files too; reads all of them.")
def doctor(json_wanted: bool, fix: bool, deep: bool) -> None:
    """Check every invariant of the running cloud, and say in words what is wrong.

    Run it on a machine of the control plane: it reads the database, Redis and the image store.
    Without --fix nothing is changed; with it, what is safe is healed, and no guest, disk or image
    that may be of use is ever removed.

    Exit code 0: healthy (there may be warnings), 1: something is wrong, 2: it could not be
    checked.
    """
    examination = Examination(ImageCheck(settings().path("images"), deep))
    told: list[str] = []
    try:
        report = examination.examine()
        if fix and any(one.fix for one in report.findings):
            report = examination.heal(report, told.append)
    except (Unavailable, SQLAlchemyError) as error:
        _not_checked(error)
    if json_wanted:
        print_json(_document(report, told))
    else:
        _print(report, told, fix)
    if not report.healthy:
        sys.exit(WRONG)


def _not_checked(error: Exception) -> None:
    cause = error.__cause__ if isinstance(error, Unavailable) else error
    detail = str(getattr(cause, "orig", None) or cause or error).strip().partition("\n")[0]
    where = redact_text(settings().database)
    click.echo(f"Error: database {where}: {redact_text(detail)}; check database_url", err=True)
    sys.exit(NOT_CHECKED)


def _document(report: Report, told: list[str]) -> dict[str, Any]:
    return {
        "healthy": report.healthy,
        "findings": [one.document() for one in report.findings],
        "healed": told,
        "notes": list(report.notes),
    }


def _print(report: Report, told: list[str], fixed: bool) -> None:
    for line in told:
        click.echo(line)
    for one in sorted(report.findings, key=lambda one: one.warning):
        click.secho(f"{'warning' if one.warning else 'wrong'}: {one.subject}", bold=True, nl=False)
        click.echo(f" {one.text}")
        click.echo(f"    what to do: {one.todo}")
        if one.fix is not None:
            click.echo(f"    --fix {'did not do it: ' if fixed else ''}{one.fix.words}")
    for note in report.notes:
        click.echo(f"note: {note}")
    wrong = sum(not one.warning for one in report.findings)
    warnings = len(report.findings) - wrong
    told_warnings = f", {warnings} warnings" if warnings else ""
    click.echo(f"{wrong} wrong{told_warnings}" if wrong else f"healthy{told_warnings}")
