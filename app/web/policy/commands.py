"""`novella policy`: which rules there are, and what they let a role do.

It stands here and not with the other commands because it reads the routes, which are web's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from app.config import settings
from app.errors import Invalid
from app.store.identity import IMPLIED
from app.web import context, policy
from app.web.factory import create_app
from app.web.policy import routes
from app.web.policy.judge import Judge

_OWN = "own"
_as_json = click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")


@click.group("policy")
def command() -> None:
    """Rules: what there are, and what they let a role do."""


@command.command("list")
@_as_json
def list_(json_wanted: bool) -> None:
    """Print every rule, its default, the check in force, and the routes that ask it."""
    judge, asked = _loaded()
    rows: list[dict[str, Any]] = [
        {
            "rule": rule,
            "default": judge.defaults.get(rule),
            "check": check,
            "overridden": rule in judge.overridden,
            "routes": asked.get(rule, []),
        }
        for rule, check in sorted(judge.checks.items())
    ]
    if json_wanted:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.secho(row["rule"], bold=True)
        default = row["default"] if row["default"] is not None else "none: policy.yaml's own"
        click.echo(f"    default  {default}")
        if row["overridden"]:
            click.echo(f"    now      {row['check']}")
        for route in row["routes"]:
            click.echo(f"    asked at {route}")


@command.command()
@click.option("--rule", "rules", multiple=True, metavar="RULE", help="This rule; repeatable.")
@click.option("--all", "every", is_flag=True, help="All rules.")
@click.option("--roles", default="", metavar="ROLE,…", help="Roles, with what they imply.")
@click.option("--user", default="you", metavar="ID", help="Who asks.")
@click.option("--project", default=_OWN, metavar="ID", help="The project of the token.")
@click.option("--target-project", metavar="ID", help="Whose it is about; else --project's.")
@click.option("--target-user", metavar="ID", help="Whom it is about; else --user.")
@click.option("--system", is_flag=True, help="A token for the whole system, on no project.")
@_as_json
def check(rules: tuple[str, ...], every: bool, json_wanted: bool, **who: Any) -> None:
    """Say what a role may do; exit 1 when a --rule refuses.

    The target is a thing of the token's own project and user, unless said otherwise.
    """
    judge, _ = _loaded()
    if every == bool(rules):
        raise click.UsageError("give --rule, or --all")
    if unknown := sorted(set(rules) - set(judge.defaults)):
        raise Invalid(f"there is no rule {', '.join(unknown)}: see `novella policy list`")
    asked = sorted(judge.defaults) if every else list(rules)
    verdicts = _verdicts(judge, asked, **who)
    if json_wanted:
        click.echo(json.dumps(verdicts, indent=2))
    else:
        _table(verdicts)
    if rules and not all(verdicts.values()):
        sys.exit(1)


def with_implied(roles: Iterable[str]) -> list[str]:
    """The roles that a token for these has."""
    given = set(roles)
    return sorted(given.union(*(IMPLIED.get(role, ()) for role in given)))


def _loaded() -> tuple[Judge, dict[str, list[str]]]:
    """The rules in force by this machine's settings, and where each is asked."""
    app = create_app(settings())
    with app.app_context():
        return context.web().judge, routes.by_rule(app)


def _verdicts(judge: Judge, rules: Sequence[str], **who: Any) -> dict[str, bool]:
    project = None if who["system"] else who["project"]
    held: dict[str, Any] = {
        "user_id": who["user"],
        "project_id": project,
        "tenant_id": project,
        "roles": with_implied(role.strip() for role in who["roles"].split(",") if role.strip()),
        "system_scope": "all" if who["system"] else None,
    }
    owner = who["target_project"] or project
    user = who["target_user"] or who["user"]
    target = {
        **dict.fromkeys(("project_id", "tenant_id", "target.project.id"), owner),
        "network:project_id": owner,
        **dict.fromkeys(("user_id", "target.user.id", "target.token.user_id"), user),
    }
    held["is_admin"] = judge.allows(policy.IS_ADMIN, target, held | {"is_admin": False})
    return {rule: judge.allows(rule, target, held) for rule in rules}


def _table(verdicts: dict[str, bool]) -> None:
    for rule, allowed in verdicts.items():
        click.echo(f"{'allowed' if allowed else 'refused'}  {rule}")
