"""The way of an upload: a locked draft, the row in saving, inspection, the rename, the row."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from app.config import Settings
from app.domain.caller import Caller
from app.errors import TooLarge
from app.images import inspect, store
from app.store import images
from app.store.database import reading, transaction
from app.web import connection

GIB = 1024**3
DRAIN_SECONDS = 3.0
STALL_SECONDS = 1.0


def receive(
    settings: Settings, caller: Caller, image_id: str, source: store.Source, length: int | None
) -> None:
    """Make the bytes of `source` the image's data; on failure the image is queued again and
    nothing is left on disk. `length` is what the client says that it sends, in bytes."""
    with ExitStack() as refused:
        refused.callback(store.drain, source, DRAIN_SECONDS)
        refused.callback(connection.patience, STALL_SECONDS)  # first of the two: last in, first out
        limit = settings.image_limit_gb * GIB
        if length is not None and length > limit:
            raise TooLarge(f"The image is larger than the limit of {limit} bytes.")
        _receive(settings, caller, image_id, source, length)
        refused.pop_all()


def _receive(
    settings: Settings, caller: Caller, image_id: str, source: store.Source, length: int | None
) -> None:
    directory = settings.path("images")
    abandoned = _check(settings, caller, image_id)
    with store.draft(directory, image_id) as draft, ExitStack() as undo:
        with transaction() as session:
            image = images.begin_upload(session, caller, image_id, draft.name, abandoned)
        undo.callback(_give_up, image_id, draft.name)
        sums = draft.receive(source, settings.image_limit_gb * GIB, length)
        virtual = inspect.virtual_size(
            draft.path, image.disk_format or "", settings.image_virtual_limit_gb * GIB
        )
        undo.callback(_discard, directory, image_id)
        draft.publish(image_id)
        received = images.Received(image_id, sums.size, virtual, sums.md5, sums.sha512)
        with transaction() as session:
            images.finish_upload(session, image_id, draft.name, received)
        undo.pop_all()


def _check(settings: Settings, caller: Caller, image_id: str) -> str | None:
    """The draft of an upload of this image whose process died, if there is one."""
    with reading() as session:
        image = images.get(session, caller, image_id)
    name = image.file_name or ""
    if image.status == images.SAVING and store.is_dead(settings.path("images"), name):
        return name
    return None


def _give_up(image_id: str, draft: str) -> None:
    with transaction() as session:
        images.fail_upload(session, image_id, draft)


def _discard(directory: Path, image_id: str) -> None:
    # A commit whose answer got lost may have succeeded: then the file is the image's.
    with reading() as session:
        kept = images.has_file(session, image_id)
    if not kept:
        store.remove(directory, image_id)


def recover(settings: Settings) -> None:
    """Put images whose upload died with its process back to queued; remove dead drafts."""
    directory = settings.path("images")
    with reading() as session:
        unfinished = images.saving(session)
    for image_id, draft in unfinished:
        if store.is_dead(directory, draft):
            _give_up(image_id, draft)
    store.sweep(directory)
