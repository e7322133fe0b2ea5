"""Garbage collection, for a process that has loaded much and then answers requests."""

from __future__ import annotations

import gc

YOUNG, MIDDLE, OLD = 20_000, 20, 20
"""A list of a thousand servers makes tens of thousands of objects that all die by their counts:
with Python's 700, it would be searched for cycles dozens of times."""


def settle() -> None:
    """Never look again at what the program itself is made of, and less often at the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
