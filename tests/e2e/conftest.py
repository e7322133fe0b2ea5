"""Real clouds for the end-to-end tests: libvirtd, QEMU guests, web, workers."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cloud import CHECKOUT, Cloud, running
from tests.integration.virt_fixtures import OwnLibvirtd, require_libvirtd

LIBVIRT = "app.virt.libvirt.driver:LibvirtDriver"


@pytest.fixture(scope="session")
def tiny_image() -> Path:
    """The bootable guest image; built once and kept in var/ between runs."""
    path = Path(os.environ.get("NOVELLA_TINY_IMAGE") or CHECKOUT / "var/test/tiny.qcow2")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes want it at once
        subprocess.run([CHECKOUT / "bin/tiny-image", path], check=True, timeout=600)
    return path


@pytest.fixture(scope="module")
def hypervisors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], OwnLibvirtd]]:
    """Makes libvirtds, each in a network namespace of its own."""
    require_libvirtd()
    made: dict[str, OwnLibvirtd] = {}
    with ExitStack() as stack:

        def hypervisor(name: str) -> OwnLibvirtd:
            if name not in made:
                runtime = Path(tempfile.mkdtemp(prefix=f"nv-{name}-"))
                stack.callback(shutil.rmtree, runtime)
                folder = tmp_path_factory.mktemp(f"libvirtd-{name}")
                made[name] = OwnLibvirtd(folder, runtime, netns=f"nov{os.getpid()}{name}")
                stack.callback(made[name].close)
            return made[name]

        yield hypervisor


@pytest.fixture(scope="module")
def real_cloud(
    tmp_path_factory: pytest.TempPathFactory, hypervisors: Callable[[str], OwnLibvirtd]
) -> Iterator[Cloud]:
    """A cloud with web, one scheduler worker and one real hypervisor, n1."""
    made = Cloud(tmp_path_factory.mktemp("real"), settings={"driver": LIBVIRT, "virt_type": "qemu"})
    with running(made):
        made.start_web()
        made.start_control()
        made.start_host("n1", libvirt_uri=hypervisors("n1").uri)
        made.hosts_up("n1", seconds=60)
        yield made
