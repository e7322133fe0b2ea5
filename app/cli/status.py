"""`novella status`: is every part there and able to work?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
import redis
import requests
from sqlalchemy.exc import SQLAlchemyError

from app.cli.output import as_json, print_json, print_table
from app.config import Settings, settings
from app.errors import NovellaError
from app.redaction import redact_text
from app.store import database, hosts_admin, migrations

SECONDS = 5.0


@click.command()
@as_json
def status(json_wanted: bool) -> None:
    """Check database, broker, web and hosts; exit 1 when one of them is not well."""
    configured = settings()
    rows = [_check(name, check, configured) for name, check in _CHECKS.items()]
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
    except (SQLAlchemyError, redis.RedisError, requests.RequestException, OSError) as error:
        detail = str(error).strip().partition("\n")[0] or type(error).__name__
    return {"part": name, "ok": False, "detail": redact_text(detail)}


def _database(configured: Settings) -> str:
    if not migrations.is_current():
        raise NovellaError("the schema is not the newest: run `novella db upgrade`")
    return f"{redact_text(configured.database)}, newest schema"


def _broker(configured: Settings) -> str:
    client = redis.Redis.from_url(
        configured.broker_url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS
    )
    with client:
        client.ping()
    return redact_text(configured.broker_url)


def _web(configured: Settings) -> str:
    url = f"http://{configured.bind}:{configured.port}/healthz"
    with requests.Session() as session:
        session.trust_env = False
        session.get(url, timeout=SECONDS).raise_for_status()
    return url


def _hosts(configured: Settings) -> str:
    with database.reading() as session:
        rows = hosts_admin.overview(session)
    if not rows:
        raise NovellaError("none has registered: start a worker with -Q host-NAME")
    ill = [f"{row['name']} is {row['state']}" for row in rows if row["state"] != "up"]
    if ill:
        raise NovellaError(f"{'; '.join(ill)} ({len(rows)} in all): see the workers' logs there")
    return f"{len(rows)} up"


_CHECKS: dict[str, Callable[[Settings], str]] = {
    "database": _database,
    "broker": _broker,
    "web": _web,
    "hosts": _hosts,
}
