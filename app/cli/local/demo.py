"""The first guest: an image, a server, its console — all through the HTTP API, as a user would."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.cli.api import Api, credentials
from app.cli.local.place import Place, checkout
from app.cli.local.waiting import until
from app.cli.output import console
from app.cli.watching import watch
from app.config import Settings
from app.errors import NovellaError, Unavailable

IMAGE, FLAVOR, SERVER = "tiny", "tiny", "first"
READY = "NOVELLA-GUEST ready"
BUILD_SECONDS = 900
UPLOAD_SECONDS = 300
CREATE_SECONDS = 600
RESTART_SECONDS = 180
BOOT_SECONDS = 240
PING_SECONDS = 60
_PASSING = ("BUILD", "REBOOT", "HARD_REBOOT", "REBUILD")


class Demo:
    """Makes the image and the server once; later calls only look."""

    def __init__(self, place: Place, settings: Settings) -> None:
        self._place = place
        self._admin, self._user = (
            # By our own address: a proxy that public_url names may not be there yet.
            Api(replace(credentials(name, [place.clouds]), auth_url=f"{settings.api_url}/identity"))
            for name in ("novella-admin", "novella")
        )
        self._mark = place.state / "first_server"

    def run(self, restarted: bool) -> bool:
        """See that server `first` runs, and show its console when it is new; True if it is.

        `restarted` says that the cloud was down, so that its guests are only just coming back.
        Raises NovellaError when it does not come up, or answers no ping.
        """
        server = self._find_server()
        if server is None:
            if not self._mark.exists():
                return self._first_time()
            again = f"remove {self._mark} to have it made again"
            console().print(f"server {SERVER} was deleted: {again}", markup=False)
            return False
        if server["status"] in ("ACTIVE", *_PASSING):
            if restarted or server["status"] != "ACTIVE":
                self._wait_active()
                self._ping(self._address(server["id"]))
            return False
        # Stopped by its user, or broken: not for us to change.
        console().print(f"server {SERVER} is {server['status']}, and stays so", markup=False)
        return False

    def _first_time(self) -> bool:
        image_id = self._image()
        server_id = self._create(image_id)
        self._mark.write_text(server_id + "\n")
        until("its console", lambda: self._not_ready(server_id), BOOT_SECONDS)
        console().rule(f"console of {SERVER}")
        console().print(self._console(server_id), markup=False)
        console().rule()
        self._ping(self._address(server_id))
        return True

    def _image(self) -> str:
        """The id of the public image, built and uploaded if it is not there."""
        found = self._admin.get("/image/v2/images", params={"name": IMAGE}).json()["images"]
        for image in found:
            if image["status"] == "active":
                return str(image["id"])
        file = self._build_image()
        waiting = [image["id"] for image in found if image["status"] == "queued"]
        image_id = waiting[0] if waiting else self._declare_image()
        with console().status(f"uploading image {IMAGE}"), file.open("rb") as data:
            self._admin.upload(f"/image/v2/images/{image_id}/file", data, UPLOAD_SECONDS)
        console().print(f"uploaded image {IMAGE} ({file.stat().st_size >> 20} MiB)")
        return str(image_id)

    def _declare_image(self) -> str:
        body = {
            "name": IMAGE,
            "disk_format": "qcow2",
            "container_format": "bare",
            "visibility": "public",
        }
        return str(self._admin.call("POST", "/image/v2/images", json=body).json()["id"])

    def _build_image(self) -> Path:
        output = self._place.state / f"{IMAGE}.qcow2"
        root = checkout()
        if root is None:
            raise NovellaError("no bin/tiny-image outside a checkout: use bin/up --no-guest")
        with console().status(f"building the guest image {output.name} (once)"):
            done = subprocess.run(
                [str(root / "bin/tiny-image"), str(output)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=BUILD_SECONDS,
            )
        if done.returncode:
            raise NovellaError(f"bin/tiny-image failed:\n{done.stdout.strip()[-1000:]}")
        return output

    def _create(self, image_id: str) -> str:
        flavors = self._user.get("/compute/v2.1/flavors").json()["flavors"]
        ids = [flavor["id"] for flavor in flavors if flavor["name"] == FLAVOR]
        if not ids:
            raise NovellaError(f"no flavor {FLAVOR}: make one, or use bin/up --no-guest")
        body = {"server": {"name": SERVER, "flavorRef": ids[0], "imageRef": image_id}}
        answer = self._user.call("POST", "/compute/v2.1/servers", json=body)
        server_id = str(answer.json()["server"]["id"])
        console().print(f"creating server {SERVER} ({server_id})", markup=False)
        self._follow(answer.headers["X-Task-Id"])
        return server_id

    def _follow(self, task_id: str) -> None:
        try:
            final = watch(self._user, task_id, CREATE_SECONDS)
        except TimeoutError as error:
            raise Unavailable(f"{error}; follow it: novella task watch {task_id}") from error
        if final["state"] != "succeeded":
            fault = (final.get("fault") or {}).get("message") or "no fault given"
            raise NovellaError(
                f"creating server {SERVER} {final['state']}: {fault}; "
                f"remove it with: openstack server delete {SERVER}"
            )

    def _find_server(self) -> dict[str, Any] | None:
        params = {"name": f"^{SERVER}$"}
        servers = self._user.get("/compute/v2.1/servers/detail", params=params).json()["servers"]
        return next((one for one in servers if one["name"] == SERVER), None)

    def _wait_active(self) -> None:
        """An earlier start made it: wait until it runs again."""

        def missing() -> str | None:
            server = self._find_server()
            status = server["status"] if server else "DELETED"
            if status not in ("ACTIVE", *_PASSING):
                raise NovellaError(
                    f"server {SERVER} is {status}: see `openstack server show {SERVER}`, then "
                    f"`openstack server start {SERVER}` or `openstack server delete {SERVER}`"
                )
            return None if status == "ACTIVE" else f"it is {status}"

        until(f"server {SERVER}", missing, RESTART_SECONDS)

    def _not_ready(self, server_id: str) -> str | None:
        try:
            return None if READY in self._console(server_id) else "the guest boots"
        except Unavailable as error:
            return error.message

    def _console(self, server_id: str) -> str:
        path = f"/compute/v2.1/servers/{server_id}/action"
        answer = self._user.call("POST", path, json={"os-getConsoleOutput": {}})
        return str(answer.json()["output"])

    def _address(self, server_id: str) -> str:
        server = self._user.get(f"/compute/v2.1/servers/{server_id}").json()["server"]
        found = [one["addr"] for ports in server["addresses"].values() for one in ports]
        if not found:
            raise NovellaError(f"server {SERVER} has no address")
        return str(found[0])

    def _ping(self, address: str) -> None:
        def missing() -> str | None:
            argv = ["ping", "-c", "1", "-W", "2", address]
            done = subprocess.run(argv, capture_output=True, timeout=10)
            return f"{address} does not answer ping" if done.returncode else None

        until(f"ping of {SERVER}", missing, PING_SECONDS)
        console().print(f"{SERVER} answers ping at {address}", markup=False)
