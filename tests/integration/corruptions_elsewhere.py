"""Ways to break what hosts, the image store and Redis hold, behind the doctor's back."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from sqlalchemy import update

from app.models import Image, Server
from tests.integration.corruptions_of_rows import GHOST, Patient, Undo
from tests.integration.doctoring import change_host, image_with_file


def dhcp_entry_of_another_address(on: Patient) -> Undo:
    key = f"{on.cloud.cloud_id}/{on.server_id}"
    host = on.host
    kept: list[Any] = []

    def spoil(state: dict[str, Any]) -> None:
        kept.append(state["leases"][key])
        state["leases"][key] = [["fa:16:3e:00:00:00", "10.77.0.200"]]

    change_host(on.cloud, host, spoil)
    return lambda: change_host(on.cloud, host, lambda state: state["leases"].update({key: kept[0]}))


def guest_of_no_server(on: Patient) -> Undo:
    guest = {
        "cloud_id": on.cloud.cloud_id,
        "server_id": GHOST,
        "fence": 3,
        "power_state": 1,
        "committed": True,
    }
    change_host(on.cloud, "n2", lambda state: state["guests"].update({GHOST: guest}))

    def undo() -> None:
        # It is still there: nothing but its owner's hand removes it.
        change_host(on.cloud, "n2", lambda state: state["guests"].pop(GHOST))

    return undo


def disk_of_no_server(on: Patient) -> Undo:
    key = f"{on.cloud.cloud_id}/{GHOST}"
    change_host(on.cloud, "n1", lambda state: state["disks"].update({key: 2}))
    return lambda: change_host(on.cloud, "n1", lambda state: state["disks"].pop(key))


def fence_behind_the_host(on: Patient) -> Undo:
    on.sql(update(Server).where(Server.id == on.server_id).values(fence=1))
    return None


def image_file_spoiled(on: Patient) -> Undo:
    path = on.cloud.directory / "images" / on.image_id
    before = path.read_bytes()
    path.write_bytes(before[:-1] + b"x")
    return lambda: path.write_bytes(before)


def image_file_gone(on: Patient) -> Undo:
    path = on.cloud.directory / "images" / on.image_id
    path.rename(path.with_suffix(".away"))
    return lambda: path.with_suffix(".away").rename(path)


def file_of_a_deleted_image(on: Patient) -> Undo:
    image_id = image_with_file(on.cloud)
    gone = {"status": "deleted", "file_name": None, "deleted_at": time.time()}
    on.sql(update(Image).where(Image.id == image_id).values(gone))
    grow_old(on.cloud.directory / "images" / image_id)
    return None


def file_of_no_image(on: Patient) -> Undo:
    path = on.cloud.directory / "images" / GHOST
    path.write_bytes(b"of after the backup")
    grow_old(path)
    return path.unlink


def grow_old(path: Path) -> None:
    """Let a file be two days old."""
    os.utime(path, (time.time() - 2 * 86400,) * 2)


def upload_given_up(on: Patient) -> Undo:
    image_id = image_with_file(on.cloud)
    then = time.time() - 3 * 86400
    stuck = update(Image).where(Image.id == image_id)
    on.sql(stuck.values(status="saving", file_name=f"{image_id}.0.part", updated_at=then))
    return lambda: on.sql(stuck.values(status="active", file_name=image_id))


def redis_that_evicts(on: Patient) -> Undo:
    client = on.cloud.redis()
    client.config_set("maxmemory-policy", "allkeys-lru")
    return lambda: client.config_set("maxmemory-policy", "noeviction")


def clock_of_a_worker_behind(on: Patient) -> Undo:
    client = on.cloud.redis()
    beat = {"name": "slow", "queues": [], "at": time.time() - 60, "software": ""}
    client.set("control:slow", json.dumps(beat), ex=20)
    client.sadd("controls", "slow")
    return lambda: client.delete("control:slow")


def machine_of_another_cloud(on: Patient) -> Undo:
    client = on.cloud.redis()
    beat = json.loads(str(client.get("hb:n1")))
    client.set("hb:alien", json.dumps(beat | {"host": "alien", "cloud_id": GHOST}), ex=120)
    client.sadd("hosts", "alien")
    return lambda: (client.delete("hb:alien"), client.srem("hosts", "alien"))
