"""`novella status`: is every part there and able to work?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click
import redis
from sqlalchemy.exc import SQLAlchemyError

from app.broker import AWAY, Probe, redis_client
from app.cli import web_health
from app.cli.output import as_json, print_json, print_table
from app.config import Settings, settings
from app.errors import Invalid, NovellaError
from app.redaction import redact_text
from app.store import database, figures, hosts_admin, migrations
from app.tasks import metering

SECONDS = 5.0


@click.command()
@as_json
@click.option("--only", "parts", multiple=True, metavar="PART", help="Check this part; repeatable.")
def status(json_wanted: bool, parts: tuple[str, ...]) -> None:
    """Check database, broker, web, hosts and work; exit 1 when one of them is not well."""
    configured = settings()
    if unknown := set(parts) - set(_CHECKS):
        raise Invalid(f"--only {', '.join(unknown)}: there is {', '.join(_CHECKS)}")
    names = parts or tuple(_CHECKS)
    rows = [_check(name, _CHECKS[name], configured) for name in names]
    if json_wanted:
        print_json(rows)
    else:
        print_table(("part", "ok", "detail"), rows)
    if not all(row["ok"] for row in rows):
        sys.exit(1)


def _check(name: str, check: Callable[[Settings], str], configured: Settings) -> dict[str, Any]:
    try:
        return {"part": name, "ok": True, "detail": check(configured)}
    except NovellaError as error:
        detail = error.message
    except (SQLAlchemyError, *AWAY) as error:
        detail = str(error).strip().partition("\n")[0] or type(error).__name__
    return {"part": name, "ok": False, "detail": redact_text(detail)}


def _database(configured: Settings) -> str:
    if not migrations.is_current():
        raise NovellaError("the schema is not the newest: run `novella db upgrade`")
    return f"{redact_text(configured.database)}, newest schema"


def _broker(configured: Settings) -> str:
    Probe(configured.broker_url, SECONDS).ping()
    if configured.results == configured.broker_url:
        return redact_text(configured.broker_url)
    with redis_client(configured.results, SECONDS) as client:
        client.ping()
    return redact_text(f"{configured.broker_url}, results in {configured.results}")


def _web(configured: Settings) -> str:
    if (lacks := web_health.lack(configured)) is not None:
        raise NovellaError(f"{configured.api_url}: {lacks}")
    return configured.api_url


def _hosts(configured: Settings) -> str:
    with database.reading() as session:
        rows = hosts_admin.overview(session)
    if not rows:
        raise NovellaError("none has registered: start a worker with -Q host-NAME")
    ill = [f"{row['name']} is {row['state']}" for row in rows if row["state"] != "up"]
    if ill:
        raise NovellaError(f"{'; '.join(ill)} ({len(rows)} in all): see the workers' logs there")
    return f"{len(rows)} up"


def _work(configured: Settings) -> str:
    with database.reading() as session:
        waiting = figures.waiting(session)
    count = sum(one.count for one in waiting)
    told = f"{count} unfinished"
    if count:
        first = max(waiting, key=lambda one: one.oldest)
        told += f", the oldest for {first.oldest:.0f} s at {first.stage}"
        told += f", due since {max(one.overdue for one in waiting):.0f} s"
    with suppress(redis.RedisError), redis_client(configured.results, SECONDS) as client:
        told += f"; rung again {sum(metering.rings(client).values())} times"
    return told


_CHECKS: dict[str, Callable[[Settings], str]] = {
    "database": _database,
    "broker": _broker,
    "web": _web,
    "hosts": _hosts,
    "work": _work,
}
