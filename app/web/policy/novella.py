"""Rules for what is Novella's own, below /v1."""

from __future__ import annotations

_ADMIN = "rule:context_is_admin"

RULES = {
    "novella:tasks:list": "rule:project_reader_or_admin",
    "novella:tasks:show": "rule:project_reader_or_admin",
    "novella:tasks:cancel": "rule:project_member_or_admin",
    "novella:tasks:list:all_projects": _ADMIN,
    "novella:tasks:show:hosts": _ADMIN,
    "novella:tasks:placement": "rule:project_reader_or_admin",
    "novella:placement:dry_run": "rule:project_member_or_admin",
    "novella:placement:show:hosts": _ADMIN,
    "novella:capacity:show": "rule:project_reader_or_admin",
    "novella:hosts:list": _ADMIN,
    "novella:hosts:token": _ADMIN,
    "novella:aggregates:images": _ADMIN,
}
