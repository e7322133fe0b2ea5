"""The usage audit's log of each host. No such audit runs here: every host counts as not run.

Usage is computed from the servers' rows when it is asked for (`usage`), so nothing is collected.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Response

from app.errors import Invalid
from app.store import hosts
from app.store.database import clock, reading
from app.web.answers import answer
from app.web.api import Route
from app.web.compute.versions import ns
from app.web.shapes import operating as shapes

_FORMS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f")
_RULE = "os_compute_api:os-instance-usage-audit-log:"


@ns.route("/v2.1/os-instance_usage_audit_log")
class AuditLogs(Route):
    shows = {"get": shapes.AUDITS}
    policy = {"get": f"{_RULE}list"}

    def get(self) -> Response:
        """Show the audit of the last whole month."""
        return answer({"instance_usage_audit_logs": _log(None)})


@ns.route("/v2.1/os-instance_usage_audit_log/<before>")
class AuditLog(Route):
    shows = {"get": shapes.AUDIT}
    policy = {"get": f"{_RULE}show"}

    def get(self, before: str) -> Response:
        """Show the audit of the last whole month before a time, `2026-01-02 03:04:05`."""
        return answer({"instance_usage_audit_log": _log(_time(before))})


def _time(text: str) -> datetime:
    for form in _FORMS:
        try:
            found = datetime.strptime(text, form)
        except ValueError:
            continue
        if found.year > 1:  # there must be a month before
            return found
    raise Invalid(f"Invalid timestamp for date {text[:64]}: not in the form YYYY-MM-DD HH:MM:SS")


def _log(before: datetime | None) -> dict[str, Any]:
    with reading() as session:
        names = [host.name for host in hosts.all_hosts(session)]
        now = datetime.fromtimestamp(clock(session), UTC).replace(tzinfo=None)
    end = (before or now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    begin = (end - timedelta(days=1)).replace(day=1)
    return {
        "period_beginning": str(begin),
        "period_ending": str(end),
        "num_hosts": len(names),
        "num_hosts_done": 0,
        "num_hosts_running": 0,
        "num_hosts_not_run": len(names),
        "hosts_not_run": names,
        "total_instances": 0,
        "total_errors": 0,
        "overall_status": f"0 of {len(names)} hosts done. 0 errors.",
        "log": {},
    }
