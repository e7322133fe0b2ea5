"""Images on their way into a host's cache: shared, verified, cancellable."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.domain.message import ImageSource
from app.errors import Cancelled, HostFault
from app.images.download import Download
from app.images.host_cache import HostCache
from tests.cloud import CHECKOUT, allowed, eventually
from tests.integration.virt_fixtures import ImageServer

pytest_plugins = ["tests.integration.virt_fixtures"]


@pytest.fixture
def cache(tmp_path: Path) -> HostCache:
    return HostCache(tmp_path / "the cache", tmp_path / "disks")


def get(cache: HostCache, image: ImageSource, cancel: threading.Event | None = None) -> Path:
    with cache.lease(image, cancel or threading.Event(), lambda percent, message: None) as path:
        return path


class Build(threading.Thread):
    """One build that wants an image."""

    def __init__(self, cache: HostCache, image: ImageSource) -> None:
        super().__init__(daemon=True)
        self.cancel = threading.Event()
        self.result: Any = None
        self.messages: list[str] = []
        self._wanted = (cache, image)
        self.start()

    def run(self) -> None:
        cache, image = self._wanted
        try:
            report = lambda percent, message: self.messages.append(message)  # noqa: E731
            with cache.lease(image, self.cancel, report) as path:
                self.result = path
        except (Cancelled, HostFault) as error:
            self.result = error


def leftovers(cache: HostCache) -> list[str]:
    return [path.name for path in cache.directory.glob(".*")]


def test_an_image_is_downloaded_once_and_is_the_servers_to_the_byte(
    cache: HostCache, images: ImageServer
):
    source = images.source()
    path = get(cache, source)
    assert path.read_bytes() == images.content
    assert get(cache, source) == path
    assert images.requests == 1
    assert get(cache, replace(source, checksum_algorithm="sha256", checksum=sha256(images))) != path


def sha256(images: ImageServer) -> str:
    return hashlib.sha256(images.content).hexdigest()


def test_progress_is_told_in_bytes(cache: HostCache, images: ImageServer):
    images.flow.clear()
    build = Build(cache, images.source())
    eventually(lambda: any("downloading image (1 of 3 MiB)" in text for text in build.messages))
    images.flow.set()
    build.join(10)
    assert isinstance(build.result, Path)


def test_when_the_downloading_build_is_cancelled_a_waiting_one_takes_over(
    cache: HostCache, images: ImageServer
):
    images.flow.clear()
    source = images.source()
    first = Build(cache, source)
    assert images.half_sent.wait(10)
    others = [Build(cache, source) for _ in range(3)]
    eventually(lambda: all(build.messages for build in others))
    began = time.monotonic()
    others[0].cancel.set()
    others[0].join(5)
    first.cancel.set()
    first.join(5)
    assert time.monotonic() - began < allowed(1)
    assert isinstance(first.result, Cancelled)
    assert isinstance(others[0].result, Cancelled)
    images.flow.set()
    for build in others[1:]:
        build.join(10)
        assert isinstance(build.result, Path), build.result
        assert build.result.read_bytes() == images.content
    assert images.requests == 2
    assert leftovers(cache) == []


def test_a_server_that_is_away_for_a_moment_is_asked_again(cache: HostCache, images: ImageServer):
    images.refuse_next = 2
    assert get(cache, images.source()).exists()
    assert images.requests == 3


@pytest.mark.parametrize(
    ("changes", "code", "retriable"),
    [
        ({"checksum": "0" * 128}, "image_corrupt", True),
        ({"size": 5}, "image_corrupt", True),
        ({"token": "expired"}, "image_denied", True),
        ({"disk_format": "raw"}, "image_format", False),
        ({"disk_format": "vmdk"}, "image_format", False),
        ({"checksum_algorithm": "md5"}, "image_corrupt", False),
    ],
)
def test_a_wrong_image_is_refused_and_leaves_nothing(
    cache: HostCache, images: ImageServer, changes: dict[str, Any], code: str, retriable: bool
):
    with pytest.raises(HostFault) as caught:
        get(cache, images.source(**changes))
    assert (caught.value.code, caught.value.retriable) == (code, retriable)
    assert "expired" not in str(caught.value)
    assert leftovers(cache) == []
    assert not list(cache.directory.glob("*.image"))


@pytest.mark.parametrize(
    "changes", [{"checksum": "\u00e9" * 128}, {"checksum_algorithm": "unheard of"}, {"checksum": 5}]
)
def test_a_file_is_good_only_once_it_was_verified_whatever_else_went_wrong(
    tmp_path: Path, images: ImageServer, changes: dict[str, Any]
):
    download = Download(images.source(**changes), tmp_path / "file")
    assert download.finished.wait(allowed(10))
    with pytest.raises(HostFault, match="see the host's log") as caught:
        download.result()
    assert caught.value.code == "bug"


def test_a_download_that_has_not_ended_is_not_good(tmp_path: Path, images: ImageServer):
    images.flow.clear()
    download = Download(images.source(), tmp_path / "file")
    assert images.half_sent.wait(allowed(10))
    with pytest.raises(HostFault, match="did not end"):
        download.result()
    images.flow.set()
    assert download.finished.wait(allowed(10))
    download.result()


def test_an_image_with_a_backing_file_is_refused(
    cache: HostCache, tmp_path: Path, blank_image: Path
):
    path = tmp_path / "greedy.qcow2"
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", blank_image, "-F", "qcow2", path]
    subprocess.run(argv, check=True, timeout=30)
    server = ImageServer(path)
    try:
        with pytest.raises(HostFault) as caught:
            get(cache, server.source())
    finally:
        server.close()
    assert (caught.value.code, caught.value.retriable) == ("image_format", False)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a part of the image."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, timeout=10, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=10)


def test_a_full_disk_is_a_fault_for_this_host_only_and_leaves_nothing(
    full_disk: Path, images: ImageServer, tmp_path: Path
):
    cache = HostCache(full_disk, tmp_path / "disks")
    with pytest.raises(HostFault) as caught:
        get(cache, images.source())
    assert (caught.value.code, caught.value.retriable) == ("disk_full", True)
    assert leftovers(cache) == []


def test_two_processes_download_an_image_once(
    cache: HostCache, images: ImageServer, tmp_path: Path
):
    source = images.source()
    program = (
        "import sys, threading, pathlib\n"
        "from app.domain.message import ImageSource\n"
        "from app.images.host_cache import HostCache\n"
        f"source = {source!r}\n"
        f"cache = HostCache(pathlib.Path({str(cache.directory)!r}), pathlib.Path('disks'))\n"
        "with cache.lease(source, threading.Event(), lambda *progress: None): pass\n"
    )
    images.flow.clear()
    argv = [sys.executable, "-c", program]
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    processes = [subprocess.Popen(argv, cwd=tmp_path, env=env) for _ in range(2)]
    assert images.half_sent.wait(20)
    time.sleep(0.3)
    images.flow.set()
    assert [process.wait(30) for process in processes] == [0, 0]
    assert images.requests == 1
