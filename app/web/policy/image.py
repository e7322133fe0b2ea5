"""Glance's rules, by Glance's names and with its defaults."""

from __future__ import annotations

_READER = "rule:project_reader_or_admin"
_MEMBER = "rule:project_member_or_admin"

RULES = {
    "get_images": _READER,
    "get_image": _READER,
    "add_image": _MEMBER,
    "modify_image": _MEMBER,
    "modify_image:owner": "rule:context_is_admin",
    "delete_image": _MEMBER,
    "upload_image": _MEMBER,
    "download_image": _MEMBER,
    "publicize_image": "rule:context_is_admin",
    "communitize_image": _MEMBER,
    "import_image": _MEMBER,
    "get_members": _READER,
    "get_member": _READER,
    "add_member": _MEMBER,
    "modify_member": _MEMBER,
    "delete_member": _MEMBER,
    "get_import_info": _READER,
    "tasks_api_access": _READER,
    "deactivate": _MEMBER,
    "reactivate": _MEMBER,
    "get_schemas": "@",
}
