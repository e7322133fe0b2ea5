"""There is always an administrator: whatever would remove the last one is refused."""

from __future__ import annotations

from sqlalchemy import select

from app.models import Role, User
from app.store.database import reading
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
V3 = "/identity/v3"


def ids(site: Site) -> tuple[str, str, str]:
    """Of the user admin, its project, and the role admin."""
    with reading() as session:
        user = session.scalars(select(User).where(User.name == "admin")).one()
        role = session.scalars(select(Role.id).where(Role.name == "admin")).one()
    return user.id, str(user.default_project_id), role


def test_the_last_administrator_cannot_be_deleted_disabled_or_stripped(site: Site) -> None:
    user, project, role = ids(site)
    on_project = f"{V3}/projects/{project}/users/{user}/roles/{role}"
    on_system = f"{V3}/system/users/{user}/roles/{role}"
    assert site.delete(on_system, "admin").status_code == 204  # still one on the project
    for refused in (
        site.delete(f"{V3}/users/{user}", "admin"),
        site.call("PATCH", f"{V3}/users/{user}", "admin", json={"user": {"enabled": False}}),
        site.delete(on_project, "admin"),
    ):
        assert refused.status_code == 409, refused.text
        assert "administrator" in refused.json["error"]["message"]
    site.tokens.clear()
    assert site.get(f"{V3}/users", "admin").status_code == 200


def test_with_another_administrator_the_first_may_go(site: Site) -> None:
    user, _, _ = ids(site)
    site.add_user("second", "admin")
    assert site.delete(f"{V3}/users/{user}", "second").status_code == 204
    assert site.get(f"{V3}/users", "second").status_code == 200
