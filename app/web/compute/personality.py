"""Files to put into a guest, which bodies may have until 2.56: they go onto its config drive."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.errors import Invalid, OverQuota
from app.store import quotas


def parse(
    session: Session, caller: Caller, given: list[dict[str, Any]] | None, field: str
) -> dict[str, str]:
    """Base64 contents by path. Raises Invalid, naming the field, and OverQuota."""
    found: dict[str, str] = {}
    for number, file in enumerate(given or ()):
        content = re.sub(r"\s", "", file["contents"])
        try:
            base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError) as error:
            where = f"{field}.personality.{number}.contents"
            raise Invalid(f"Invalid input for field {where}: is not base64") from error
        found[file["path"]] = content
    if found:
        _check_quota(quotas.limits(session, caller.project_id), found)
    return found


def _check_quota(limits: dict[str, int], files: dict[str, str]) -> None:
    longest = max(len(path.encode()) for path in files)
    largest = max(len(base64.b64decode(content)) for content in files.values())
    for resource, amount, what in (
        ("injected_files", len(files), "Number of injected files"),
        ("injected_file_path_bytes", longest, "Bytes of an injected file's path"),
        ("injected_file_content_bytes", largest, "Bytes of an injected file"),
    ):
        limit = limits[resource]
        if 0 <= limit < amount:
            raise OverQuota(f"{what}: {amount} exceeds the limit of {limit}")
