"""The cloud that Tempest is let loose on: two hosts, real or fake, and all processes of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp

from tests.cloud import CHECKOUT, Cloud, running
from tests.integration.virt_fixtures import OwnLibvirtd

LIBVIRT = "app.virt.libvirt.driver:LibvirtDriver"
NAMES = ("n1", "n2")
# Guests idle at a boot prompt, and no test measures them: many may share a core.
SETTINGS = {"cpu_ratio": "16", "web_threads": "128"}


@contextmanager
def cloud(directory: Path, *, real: bool) -> Iterator[Cloud]:
    """A cloud of two hosts that are up; real ones are libvirtds in namespaces, with TCG guests.

    Everything it started has ended after the block, guests and bridges too.
    """
    more = {"driver": LIBVIRT, "virt_type": "qemu"} if real else {}
    made = Cloud(directory, settings=SETTINGS | more)
    with ExitStack() as stack:
        uris = {name: _libvirtd(stack, directory, name).uri if real else "" for name in NAMES}
        stack.enter_context(running(made))
        made.start_web()
        made.start_control()
        for name, uri in uris.items():
            made.start_host(name, **({"libvirt_uri": uri} if real else {}))
        made.hosts_up(*NAMES, seconds=90)
        yield made


def _libvirtd(stack: ExitStack, directory: Path, name: str) -> OwnLibvirtd:
    runtime = Path(mkdtemp(prefix=f"nt-{name}-"))  # sockets need a short path
    stack.callback(shutil.rmtree, runtime, ignore_errors=True)
    folder = directory / f"machine-{name}"
    folder.mkdir()
    own = OwnLibvirtd(folder, runtime, netns=f"{runtime.name[-8:]}{name}", hostname=name)
    stack.callback(own.close)
    return own


def image(directory: Path, *, real: bool) -> Path:
    """A qcow2 to boot from: the tiny guest, or a blank disk where nothing boots."""
    if real:
        path = CHECKOUT / "var/test/tiny.qcow2"
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([CHECKOUT / "bin/tiny-image", path], check=True, timeout=600)
        return path
    path = directory / "blank.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"], check=True, timeout=60)
    return path
