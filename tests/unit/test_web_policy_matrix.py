"""What each role may do by each rule, to its own project's things and to another's, rule by rule.

The table is written out in golden/policy.txt, for who changes a default to see what that does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.web import policy
from app.web.policy.commands import with_implied
from app.web.policy.judge import enforcer

TABLE = Path(__file__).parent / "golden/policy.txt"
ROLES = {
    "A": "admin", "M": "manager", "m": "member", "r": "reader", "s": "service", "-": None,
}  # fmt: skip
JUDGED = enforcer(policy.RULES)


def about(project: str, user: str) -> dict[str, Any]:
    """A target of the project and user, by all the names that rules have for them."""
    return {
        **dict.fromkeys(
            ("project_id", "tenant_id", "target.project.id", "network:project_id"), project
        ),
        **dict.fromkeys(("user_id", "target.user.id", "target.token.user_id"), user),
    }


def may(rule: str, role: str | None, target: dict[str, Any]) -> bool:
    roles = with_implied([role] if role else [])
    held = {"project_id": "p", "tenant_id": "p", "user_id": "u", "roles": roles}
    held |= {"system_scope": None, "is_admin": role == "admin"}
    return bool(JUDGED.enforce(rule, target, held))


def told(rule: str) -> tuple[str, str]:
    """The letters of the roles that may, on their own and elsewhere."""
    return tuple(
        "".join(
            letter if may(rule, role, about(project, user)) else "."
            for letter, role in ROLES.items()
        )
        for project, user in (("p", "u"), ("another", "somebody"))
    )  # type: ignore[return-value]


def test_every_role_may_do_what_the_table_says_and_no_more() -> None:
    lines = [line for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    written = {rule: (own, other) for rule, own, other in map(str.split, lines)}
    assert len(written) == len(lines)
    assert {rule: told(rule) for rule in policy.RULES} == written


def test_no_role_but_the_administrators_changes_what_is_another_projects() -> None:
    lines = [line for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    everybodys = {rule for rule, _, other in map(str.split, lines) if other.strip("As.")}
    # Whose check is "@": they are about nothing of anybody's.
    assert everybodys == {rule for rule in policy.RULES if policy.RULES[rule] == "@"}
