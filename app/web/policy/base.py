"""The rules that the others are made of, by the names that operators know them by."""

from __future__ import annotations

RULES = {
    "context_is_admin": "role:admin",
    "project_reader_api": "role:reader and project_id:%(project_id)s",
    "project_member_api": "role:member and project_id:%(project_id)s",
    "project_manager_api": "role:manager and project_id:%(project_id)s",
    "service_api": "role:service",
    "project_reader_or_admin": "rule:project_reader_api or rule:context_is_admin",
    "project_member_or_admin": "rule:project_member_api or rule:context_is_admin",
    "project_manager_or_admin": "rule:project_manager_api or rule:context_is_admin",
    "service_or_admin": "rule:service_api or rule:context_is_admin",
    # Nova's older names, Neutron's and Keystone's, for who brings a policy.yaml along.
    "admin_api": "rule:context_is_admin",
    "admin_or_owner": "rule:context_is_admin or project_id:%(project_id)s",
    "admin_only": "rule:context_is_admin",
    "admin_required": "rule:context_is_admin",
    "network_owner": "project_id:%(network:project_id)s",
}
