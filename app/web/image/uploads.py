"""The way of an upload: a locked draft, the row in saving, inspection, the rename, the row."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from app.config import Settings
from app.domain.caller import Caller
from app.errors import TooLarge
from app.images import inspect, store
from app.store import image_data, images
from app.store.database import reading, transaction
from app.web import connection

GIB = 1024**3
DRAIN_SECONDS = 3.0
STALL_SECONDS = 1.0


@dataclass(frozen=True)
class Incoming:
    """Bytes on their way to us; `length` is how many the client says that it sends."""

    source: store.Source
    length: int | None


def receive(
    settings: Settings, caller: Caller, image_id: str, incoming: Incoming, way: image_data.Way
) -> None:
    """Make the incoming bytes the image's data; on failure the image is queued again and
    nothing is left on disk."""
    with ExitStack() as refused:
        refused.callback(store.drain, incoming.source, DRAIN_SECONDS)
        refused.callback(connection.patience, STALL_SECONDS)  # first of the two: last in, first out
        limit = settings.image_limit_gb * GIB
        if incoming.length is not None and incoming.length > limit:
            raise TooLarge(f"The image is larger than the limit of {limit} bytes.")
        _receive(settings, caller, image_id, incoming, way)
        refused.pop_all()


def _receive(
    settings: Settings, caller: Caller, image_id: str, incoming: Incoming, way: image_data.Way
) -> None:
    directory = settings.path("images")
    abandoned = _check(settings, caller, image_id)
    clear(settings)
    reserve = int(settings.image_store_free_gb * GIB)
    store.require_room(directory, incoming.length or 0, reserve)
    with store.draft(directory, image_id) as draft, ExitStack() as undo:
        claim = image_data.Claim(way, draft.name, abandoned)
        with transaction() as session:
            image = image_data.begin(session, caller, image_id, claim)
        undo.callback(_give_up, image_id, draft.name)
        limit = settings.image_limit_gb * GIB
        sums = draft.receive(incoming.source, limit, incoming.length, reserve)
        virtual = inspect.virtual_size(
            draft.path, image.disk_format or "", settings.image_virtual_limit_gb * GIB
        )
        undo.callback(_discard, directory, image_id)
        draft.publish(image_id)
        received = image_data.Received(image_id, sums.size, virtual, sums.md5, sums.sha512)
        with transaction() as session:
            image_data.finish(session, image_id, claim, received)
        undo.pop_all()


def receive_made(
    settings: Settings, image_id: str, file_name: str, incoming: Incoming
) -> image_data.Received:
    """Keep the data of an image that a host has made under the name that its row has.

    It is of use once the host's outcome is settled; sent again, it takes the first one's place.
    Raises NotFound when nobody waits for it.
    """
    directory, limit = settings.path("images"), settings.image_limit_gb * GIB
    with reading() as session:
        image_data.awaited(session, image_id, file_name)
    clear(settings)
    reserve = int(settings.image_store_free_gb * GIB)
    with ExitStack() as refused:
        refused.callback(store.drain, incoming.source, DRAIN_SECONDS)
        refused.callback(connection.patience, STALL_SECONDS)
        store.require_room(directory, incoming.length or 0, reserve)
        with store.draft(directory, image_id) as draft:
            sums = draft.receive(incoming.source, limit, incoming.length, reserve)
            virtual = inspect.virtual_size(
                draft.path, "qcow2", settings.image_virtual_limit_gb * GIB
            )
            with transaction() as session:
                image_data.awaited(session, image_id, file_name)
                draft.publish(file_name)  # under the row's lock: a deleted image gets no file
        refused.pop_all()
    return image_data.Received(file_name, sums.size, virtual, sums.md5, sums.sha512)


def clear(settings: Settings) -> None:
    """Remove the files of images that were deleted by a rotation, or never came to be."""
    with reading() as session:
        unwanted = image_data.unwanted(session)
    for image_id, file_name in unwanted:
        store.remove(settings.path("images"), file_name)
        with transaction() as session:
            image_data.removed(session, image_id)


def _check(settings: Settings, caller: Caller, image_id: str) -> str | None:
    """The draft of an upload of this image whose process died, if there is one."""
    with reading() as session:
        image = images.get(session, caller, image_id)
    name = image.file_name or ""
    incoming = image.status in (images.SAVING, images.UPLOADING)
    incoming = incoming and name.endswith(image_data.DRAFT)
    return name if incoming and store.is_dead(settings.path("images"), name) else None


def _give_up(image_id: str, draft: str) -> None:
    with transaction() as session:
        image_data.give_up(session, image_id, draft)


def _discard(directory: Path, image_id: str) -> None:
    # A commit whose answer got lost may have succeeded: then the file is the image's.
    with reading() as session:
        kept = image_data.has_file(session, image_id)
    if not kept:
        store.remove(directory, image_id)


def recover(settings: Settings) -> None:
    """Put images whose upload died with its process back to queued; remove dead drafts."""
    directory = settings.path("images")
    with reading() as session:
        unfinished = image_data.incoming(session)
    for image_id, draft in unfinished:
        if store.is_dead(directory, draft):
            _bury(directory, image_id, draft)
    store.sweep(directory)
    clear(settings)


def _bury(directory: Path, image_id: str, dead: str) -> None:
    # Its process may have died between the rename and the row; meanwhile the image is ours alone.
    with store.draft(directory, image_id) as mine:
        with transaction() as session:
            ours = image_data.take_over(session, image_id, dead, mine.name)
        if ours:
            store.remove(directory, image_id)
            _give_up(image_id, mine.name)
