"""Keystone's rules, by Keystone's names; the whole of a cloud's identity is its administrators'."""

from __future__ import annotations

_ADMIN = "rule:context_is_admin"
_READ_ALL = "rule:context_is_admin or (role:reader and system_scope:all)"
_OWN = "rule:context_is_admin or user_id:%(target.user.id)s"
_OWN_OR_READ_ALL = f"{_READ_ALL} or user_id:%(target.user.id)s"
_ONLY_OWN = "user_id:%(target.user.id)s"
_OWN_TOKEN = "user_id:%(target.token.user_id)s"

RULES = {
    "identity:validate_token": f"{_READ_ALL} or role:service or {_OWN_TOKEN}",
    "identity:revoke_token": f"rule:context_is_admin or {_OWN_TOKEN}",
    "identity:get_auth_catalog": "@",
    "identity:get_auth_projects": "@",
    "identity:get_auth_domains": "@",
    "identity:get_auth_system": "@",
    "identity:list_domains": _READ_ALL,
    "identity:get_domain": _READ_ALL,
    "identity:list_projects": _READ_ALL,
    "identity:get_project": _READ_ALL + " or project_id:%(target.project.id)s",
    "identity:create_project": _ADMIN,
    "identity:update_project": _ADMIN,
    "identity:delete_project": _ADMIN,
    "identity:list_user_projects": _OWN_OR_READ_ALL,
    "identity:list_groups": _READ_ALL,
    "identity:list_groups_for_user": _OWN_OR_READ_ALL,
    "identity:list_users": _READ_ALL,
    "identity:get_user": _OWN_OR_READ_ALL,
    "identity:create_user": _ADMIN,
    "identity:update_user": _ADMIN,
    "identity:delete_user": _ADMIN,
    "identity:change_password": _ONLY_OWN,
    "identity:list_roles": _READ_ALL,
    "identity:get_role": _READ_ALL,
    "identity:create_role": _ADMIN,
    "identity:update_role": _ADMIN,
    "identity:delete_role": _ADMIN,
    "identity:list_role_assignments": _READ_ALL,
    "identity:list_grants": _READ_ALL,
    "identity:check_grant": _READ_ALL,
    "identity:create_grant": _ADMIN,
    "identity:revoke_grant": _ADMIN,
    "identity:list_system_grants_for_user": _READ_ALL,
    "identity:check_system_grant_for_user": _READ_ALL,
    "identity:create_system_grant_for_user": _ADMIN,
    "identity:revoke_system_grant_for_user": _ADMIN,
    "identity:list_application_credentials": _OWN_OR_READ_ALL,
    "identity:get_application_credential": _OWN_OR_READ_ALL,
    "identity:create_application_credential": _ONLY_OWN,
    "identity:delete_application_credential": _OWN,
    "identity:list_services": _READ_ALL,
    "identity:get_service": _READ_ALL,
    "identity:list_endpoints": _READ_ALL,
    "identity:get_endpoint": _READ_ALL,
    "identity:list_regions": "@",
    "identity:get_region": "@",
}
