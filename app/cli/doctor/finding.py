"""What the doctor says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Fix:
    """A healing that is safe: what it does, in words, and doing it in one transaction.

    `heal` looks again under the locks; it is False when there was nothing to heal any more, or
    when it must not be healed now.
    """

    words: str
    heal: Callable[[Session], bool]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with `subject`: what, and what a person does about it.

    A warning is told, but the cloud is healthy all the same.
    """

    code: str
    subject: str
    text: str
    todo: str
    fix: Fix | None = None
    warning: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What two looks recognise it by."""
        return self.code, self.subject

    def document(self) -> dict[str, Any]:
        """The finding as JSON shows it."""
        return {
            "code": self.code,
            "subject": self.subject,
            "severity": "warning" if self.warning else "wrong",
            "text": self.text,
            "todo": self.todo,
            "fix": self.fix.words if self.fix else None,
        }
