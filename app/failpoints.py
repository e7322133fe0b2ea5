"""Places where the tests can make a process die, as if by kill -9. Never set in production.

The setting `failpoints` names a directory; a file in it, named like a moment (`build.before`),
is removed and the process exits when it next reaches that moment.
"""

from __future__ import annotations

import os

from app.config import settings

EXIT_CODE = 137


def reach(moment: str) -> None:
    """Die here, once, if the tests asked for it."""
    directory = settings().failpoints
    if directory is None:
        return
    try:
        (directory / moment).unlink()
    except FileNotFoundError:
        return
    os._exit(EXIT_CODE)
