"""Images against the files of the image store."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from sqlalchemy.orm import Session

from app.cli.doctor.evidence import Evidence
from app.cli.doctor.finding import Finding, Fix
from app.images import store
from app.store import images as rows
from app.store.audit import images
from app.store.audit.images import ImageRow

SMALL = 64 << 20
DAY_SECONDS = 86400.0
_OWN_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\.[0-9a-f]+(\.part)?)?")
_ID = 36
_AGAIN = "upload the image again, or restore its file from a backup"


class ImageCheck:
    """Compares image rows with files. What was summed once is not summed again unless it changed.

    Files above SMALL bytes are summed only when `deep`; `skipped` counts the others.
    """

    def __init__(self, directory: Path, deep: bool) -> None:
        self.directory = directory
        self.deep = deep
        self.skipped = 0
        self._sums: dict[tuple[str, str, int, int], str] = {}

    def check(self, seen: Evidence) -> list[Finding]:
        """Every image and every file."""
        self.skipped = 0
        ready = [i for i in seen.rows.images if i.status in (rows.ACTIVE, rows.DEACTIVATED)]
        if not self.directory.is_dir():
            if not ready:
                return []
            text = f"there is none, though {len(ready)} images have data"
            todo = "run this where the API runs; or restore the images from a backup"
            return [Finding("no_image_store", f"image store {self.directory}", text, todo)]
        found: list[Finding] = []
        for image in ready:
            found += self._data(image)
        for image in seen.rows.images:
            if image.status in images.INCOMING and image.unchanged > DAY_SECONDS:
                text = f"has been {image.status} for {image.unchanged / DAY_SECONDS:.0f} days"
                todo = "its upload was given up: upload it again, or delete it"
                found.append(Finding("image_stuck", f"image {image.id}", text, todo))
        return found + list(self._files(seen))

    def _data(self, image: ImageRow) -> Iterator[Finding]:
        subject = f"image {image.id}"
        if image.file_name is None:
            yield Finding("image_without_file", subject, "has no data", _AGAIN)
            return
        try:
            size = (self.directory / image.file_name).stat().st_size
        except OSError as error:
            text = f"its file {image.file_name} cannot be read: {error.strerror}"
            yield Finding("image_without_file", subject, text, _AGAIN)
            return
        if image.size is not None and size != image.size:
            text = f"its file has {size} bytes, it should have {image.size}"
            yield Finding("image_size", subject, text, _AGAIN)
        elif size > SMALL and not self.deep:
            self.skipped += 1
        elif image.algorithm and image.algorithm in hashlib.algorithms_guaranteed and image.digest:
            sum_ = self._sum(image.file_name, image.algorithm)
            if sum_ != image.digest:
                text = f"its file's {image.algorithm} is {sum_[:16]}…, not {image.digest[:16]}…"
                yield Finding("image_sum", subject, text, _AGAIN)

    def _sum(self, name: str, algorithm: str) -> str:
        path = self.directory / name
        about = path.stat()
        key = (name, algorithm, about.st_mtime_ns, about.st_size)
        if key not in self._sums:
            with path.open("rb") as file:
                self._sums[key] = hashlib.file_digest(file, algorithm).hexdigest()
        return self._sums[key]

    def _files(self, seen: Evidence) -> Iterator[Finding]:
        named = {image.file_name for image in seen.rows.images}
        by_id = {image.id: image for image in seen.rows.images}
        old = time.time() - DAY_SECONDS
        for path in sorted(self.directory.iterdir()):
            if path.name in named or not _OWN_NAME.fullmatch(path.name):
                continue
            if path.stat().st_mtime > old:
                continue
            image = by_id.get(path.name[:_ID])
            subject = f"file {path.name}"
            if image is not None and image.status == rows.DELETED:
                fix = Fix("removes the file", partial(_remove, path=path))
                text = "is that of an image that was deleted"
                yield Finding("file_of_deleted", subject, text, "let --fix remove it", fix)
            else:
                text = "is in the image store, and no image has it"
                todo = (
                    "its image may be newer than a restored backup: keep it, or remove it by hand"
                )
                yield Finding("file_of_nobody", subject, text, todo)


def _remove(session: Session, path: Path) -> bool:
    if not images.is_deleted(session, path.name[:_ID]):
        return False
    store.remove(path.parent, path.name)
    return True
