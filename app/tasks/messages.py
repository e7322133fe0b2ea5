"""Messages for hosts, built from the rows at every ring: nothing in them is older than that."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from cryptography.fernet import InvalidToken
from sqlalchemy.orm import Session

from app import sealing
from app.config import settings
from app.domain.message import (
    GUARDS,
    OLDEST,
    HostMessage,
    ImageSource,
    ImageTarget,
    Key,
    common,
    image_url,
    newest,
    since,
    to_message,
)
from app.errors import Bug
from app.images.access import make_token, make_upload_token
from app.images.keys import load_keys
from app.models import Action, Cleanup, Host, Image, Precache, Server
from app.store import host_networking, plans
from app.store.actions import key_of

NEEDS_PLAN = frozenset(
    ("build", "start", "reboot", "pause", "wake", "rebuild", "rescue", "unrescue")
    + ("attach", "detach")
)
NEEDS_IMAGE = ("build", "rebuild", "rescue")
_TOLD = ("restart", "user", "stay_off", "port_id")
"""Those of an action's arguments that its host hears of."""


def for_stage(session: Session, action: Action, server: Server, host: Host) -> dict[str, Any]:
    """The message of the action's host stage, in a version that the host knows (`understands`)."""
    plan = plans.build_plan(session, server) if action.stage in NEEDS_PLAN else None
    if plan is not None and action.stage in NEEDS_IMAGE:
        plan = replace(plan, image=_image(session, action, server))
    return to_message(
        HostMessage(
            cloud_id=plans.cloud_id(session),
            key=key_of(action, server),
            kind=action.kind,
            server_id=server.id,
            host=host.name,
            host_uuid=host.uuid,
            session=host.session,
            request_id=action.request_id,
            plan=plan,
            args=_args(action),
            version=_version(host),
        )
    )


def _args(action: Action) -> dict[str, Any]:
    """What of the request its host needs to know, in clear."""
    args = {name: action.args[name] for name in _TOLD if name in action.args}
    if file_name := action.args.get("file_name"):
        args["upload"] = asdict(_target(str(action.args["made_image"]), str(file_name)))
    if sealed := action.args.get(sealing.SEALED):
        args |= _opened(action, sealed)
    return args


def _opened(action: Action, sealed: str) -> dict[str, Any]:
    try:
        return sealing.opened(load_keys(settings().path("keys")), sealed)
    except InvalidToken as error:
        raise Bug(f"the key that sealed a secret of action {action.id} is gone") from error


def _target(image_id: str, file_name: str) -> ImageTarget:
    configured = settings()
    keys, seconds = load_keys(configured.path("keys")), int(configured.accept_deadline)
    return ImageTarget(
        id=image_id,
        url=image_url(configured.public_url or configured.api_url, image_id),
        token=make_upload_token(keys, image_id, file_name, seconds),
    )


def for_cleanup(session: Session, cleanup: Cleanup, host: Host) -> dict[str, Any]:
    """The message that makes a host remove what it has of a server."""
    return to_message(
        HostMessage(
            cloud_id=plans.cloud_id(session),
            key=Key(cleanup.id, cleanup.fence, "destroy", "undo"),
            kind="cleanup",
            server_id=cleanup.server_id,
            host=host.name,
            host_uuid=host.uuid,
            session=host.session,
            request_id=f"cleanup-{cleanup.id}",
            version=_version(host),
        )
    )


def for_networking(session: Session, host: Host) -> dict[str, Any]:
    """The message that tells a host all of its guests' networking."""
    return {
        "version": _version(host),
        "cloud_id": plans.cloud_id(session),
        "host": host.name,
        "host_uuid": host.uuid,
        "session": host.session,
        "networking": asdict(host_networking.of_host(session, host.name)),
    }


def for_precache(session: Session, row: Precache, host: Host, image: Image) -> dict[str, Any]:
    """The message that has a host fetch an image into its cache."""
    return {
        "version": _version(host),
        "cloud_id": plans.cloud_id(session),
        "host": host.name,
        "host_uuid": host.uuid,
        "session": host.session,
        "id": row.id,
        "attempt": row.tries,
        "request_id": row.request_id,
        "image": asdict(_source(session, image, row.id)),
    }


def understands(host: Host) -> bool:
    """Whether the host knows a message version that is still spoken here."""
    return common(host.speaks) is not None


def guards(host: Host) -> bool:
    """Whether the host is told of networking, so that new servers may be placed there."""
    return (common(host.speaks) or 0) >= GUARDS


def precaches(host: Host) -> bool:
    """Whether the host's worker fetches images ahead of builds."""
    return (common(host.speaks) or 0) >= since("precache", None)


def can_do(session: Session, action: Action, server: Server, host: Host) -> bool:
    """Whether the host's worker can do the action's stage, and guard the guest's ports in it."""
    spoken = common(host.speaks)
    if spoken is None or spoken == newest():
        return spoken is not None
    needs_plan = action.stage in NEEDS_PLAN
    plan = plans.build_plan(session, server) if needs_plan else None
    return spoken >= since(action.stage, plan)


def too_old(host: Host) -> str:
    """Why the host is sent nothing, or not this, and what to do."""
    if understands(host):
        return (
            f"host {host.name} runs an older version: it knows messages up to version "
            f"{host.speaks}, and this one is of version {newest()}; upgrade it"
        )
    return (
        f"host {host.name} runs an older version: it knows messages up to version {host.speaks}, "
        f"this scheduler sends {OLDEST} to {newest()}; upgrade it"
    )


def _version(host: Host) -> int:
    spoken = common(host.speaks)
    if spoken is None:
        raise Bug(too_old(host))
    return spoken


def _image(session: Session, action: Action, server: Server) -> ImageSource | None:
    image = plans.image(session, action.args.get("image_id") or server.image_id)
    if image is None:
        return None
    return _source(session, image, action.id)


def _source(session: Session, image: Image, reader: str) -> ImageSource:
    """Where the host gets it; `reader` is the id of what it is read for. Bug: no checksum."""
    if image.hash_value is None or image.size is None:
        raise Bug(f"image {image.id} has no checksum")
    configured = settings()
    # Looked for once for all messages of a session: there may be hundreds.
    if (keys := session.info.get("keys")) is None:
        keys = session.info["keys"] = load_keys(configured.path("keys"))
    return ImageSource(
        id=image.id,
        url=image_url(configured.public_url or configured.api_url, image.id),
        token=make_token(keys, image.id, reader, int(configured.accept_deadline)),
        size=image.size,
        checksum_algorithm=image.hash_algorithm or "sha512",
        checksum=image.hash_value,
        disk_format=image.disk_format or "raw",
    )
