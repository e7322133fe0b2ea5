"""The signing keys in their directory."""

from __future__ import annotations

import os
import time
from pathlib import Path

from app.images.keys import load_keys


def age(directory: Path, seconds: int) -> None:
    """Let the directory have changed so long ago."""
    then = time.time_ns() - seconds * 1_000_000_000
    os.utime(directory, ns=(then, then))


def test_a_key_that_is_added_or_removed_counts_at_once(tmp_path: Path) -> None:
    [first] = load_keys(tmp_path)
    age(tmp_path, 10)
    assert load_keys(tmp_path) == [first]
    (tmp_path / "newer.key").write_text("newer\n")
    assert load_keys(tmp_path) == ["newer", first]
    age(tmp_path, 10)
    assert load_keys(tmp_path) == ["newer", first]
    (tmp_path / "newer.key").unlink()
    assert load_keys(tmp_path) == [first]


def test_a_directory_that_has_not_changed_is_read_once(tmp_path: Path) -> None:
    load_keys(tmp_path)
    age(tmp_path, 10)
    [known] = load_keys(tmp_path)
    [file] = tmp_path.glob("*.key")
    file.write_text("written into the file that is there\n")
    assert load_keys(tmp_path) == [known]


def test_a_directory_that_changed_just_now_is_read_again(tmp_path: Path) -> None:
    load_keys(tmp_path)
    changed = tmp_path.stat().st_mtime_ns
    load_keys(tmp_path)
    (tmp_path / "other.key").write_text("other\n")
    os.utime(tmp_path, ns=(changed, changed))  # in the same tick of the clock
    assert "other" in load_keys(tmp_path)
