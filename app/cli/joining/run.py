"""`novella host run`: a host in the foreground, as containers and their supervisors want it."""

from __future__ import annotations

import os
import sys

from app.cli.joining import joined as host_files
from app.cli.joining import machine
from app.cli.local import files
from app.cli.local.cloud import given_settings, settle_libvirt
from app.cli.local.place import Place
from app.cli.local.programs import environment, render
from app.config import Settings
from app.errors import Invalid
from app.joining import HOST_NAME, is_host_name

_REFUSED = ("database_url",)


def become(place: Place, name: str, own_libvirtd: bool) -> None:
    """Become supervisord with the host's programs; never returns. Raises NovellaError.

    The environment's settings are written down, over those of an earlier run or of a join.
    """
    kept = files.read_settings(place)
    given = given_settings(os.environ)
    if wrong := [key for key in _REFUSED if key in given]:
        raise Invalid(f"a host must not have the setting {', '.join(wrong)}: unset it")
    values = {**kept, **given, "state_dir": str(place.state), "runtime_dir": str(place.runtime)}
    if not values.get("cloud_url") or not values.get("broker_url"):
        raise Invalid("set NOVELLA_CLOUD_URL and NOVELLA_BROKER_URL, or run novella host join here")
    host_file = place.state / "host_name"
    known = host_file.read_text().strip() if host_file.exists() else ""
    name = name or known or machine.default_name()
    if not is_host_name(name):
        raise Invalid(f"--name {name}: it must match {HOST_NAME}")
    if known not in ("", name):
        raise Invalid(f"the host in {place.state} is called {known}: it cannot become {name}")
    if own_libvirtd:
        values.pop("libvirt_uri", None)
        settle_libvirt(place, values)
    values.setdefault("libvirt_uri", Settings.libvirt_uri)
    joined = host_files.write(place, name, values)
    host_files.let_qemu_in(place, joined.settings, own=joined.daemon is not None)
    files.write_private(place.supervisor_config, render(place, joined.programs, foreground=True))
    argv = [sys.executable, "-P", "-m", "supervisor.supervisord", "-n"]
    os.chdir("/")
    os.execve(
        sys.executable,
        [*argv, "-c", str(place.supervisor_config)],
        environment(place, os.environ),
    )
