"""What a host's image cache forgets, and what it never does."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.message import ImageSource
from app.errors import HostFault
from app.images import eviction
from app.images.host_cache import HostCache
from tests.integration.virt_fixtures import Hypervisor, ImageServer

pytest_plugins = ["tests.integration.virt_fixtures"]
MIB = 1 << 20
HOUR = 3600.0


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    return tmp_path / "instances"


@pytest.fixture
def cache(tmp_path: Path, disks: Path) -> HostCache:
    return HostCache(tmp_path / "the cache", disks)


def lease(cache: HostCache, image: ImageSource):
    return cache.lease(image, threading.Event(), lambda percent, message: None)


def get(cache: HostCache, image: ImageSource) -> Path:
    with lease(cache, image) as path:
        return path


def aged(path: Path, hours: float = 2) -> Path:
    """The image, last used so many hours ago."""
    then = time.time() - hours * HOUR
    os.utime(path, (then, then))
    return path


def overlay(disks: Path, base: Path, server: str = "server", name: str = "disk-5.qcow2") -> Path:
    folder = disks / server
    folder.mkdir(parents=True, exist_ok=True)
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", folder / name]
    subprocess.run(argv, check=True, timeout=30)
    return folder / name


def test_what_nobody_used_for_long_goes_and_what_is_young_stays(
    cache: HostCache, images: ImageServer
):
    old, young = aged(get(cache, images.source())), get(cache, images.source())
    assert cache.tidy(3 * HOUR) == []
    assert cache.tidy(HOUR) == [old]
    assert young.exists()
    assert [path.name for path in cache.directory.glob("*.lock")] == [f"{young.stem}.lock"]


def test_a_base_that_a_disk_stands_on_stays_and_its_last_use_goes_on(
    cache: HostCache, images: ImageServer, disks: Path
):
    base, unused = aged(get(cache, images.source())), aged(get(cache, images.source()))
    disk = overlay(disks, base)
    overlay(disks, aged(get(cache, images.source())), "half built", ".disk-7.qcow2.part")
    assert cache.tidy(HOUR) == [unused]
    disk.unlink()
    assert cache.tidy(HOUR) == []  # until a moment ago a guest used it
    aged(base)
    assert cache.tidy(HOUR) == [base]


def test_a_base_that_a_build_holds_stays(cache: HostCache, images: ImageServer):
    source = images.source()
    with lease(cache, source) as path:
        aged(path)
        assert cache.tidy(HOUR) == []
        with lease(cache, source):
            pass
        aged(path)
        assert cache.tidy(HOUR) == []
    assert cache.tidy(HOUR) == [path]


def test_disks_that_cannot_be_seen_keep_everything(cache: HostCache, images: ImageServer, disks):
    base = aged(get(cache, images.source()))
    other = HostCache(cache.directory, disks.with_name("instances of another host"))
    get(other, images.source())
    overlay(disks.with_name("instances of another host"), base)
    assert cache.tidy(HOUR) == []
    aged(base)
    disks.with_name("instances of another host").rename(disks.with_name("moved"))
    assert cache.tidy(HOUR) == []
    assert base.exists()


def test_builds_and_evictions_side_by_side_never_lose_a_base(
    cache: HostCache, images: ImageServer, disks: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each build lets its server go at once, so that the base is unused again and again."""
    monkeypatch.setattr(eviction, "YOUNG_SECONDS", -1.0)
    source, done = images.source(), threading.Event()
    evicted: list[Path] = []
    broken: list[object] = []
    deadline = time.monotonic() + 30

    def evict() -> None:
        while not done.is_set():
            evicted.extend(cache.tidy(-1.0))

    def build(number: int) -> None:
        while len(evicted) < 6 and not broken and time.monotonic() < deadline:
            try:
                with lease(cache, source) as base:
                    disk = overlay(disks, base, f"server-{number}")
                time.sleep(0.01)
                if not base.exists():
                    broken.append(disk)
                disk.unlink()
                time.sleep(random.uniform(0, 0.05))
            except (HostFault, OSError, subprocess.SubprocessError) as error:
                broken.append(error)

    evictor = threading.Thread(target=evict)
    builders = [threading.Thread(target=build, args=(number,)) for number in range(3)]
    for thread in [evictor, *builders]:
        thread.start()
    for thread in builders:
        thread.join(60)
    done.set()
    evictor.join(10)
    assert broken == []
    assert len(evicted) >= 6
    assert images.requests >= len(evicted)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 10 MiB: three images fit, a fourth does not."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, timeout=10, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=10)


def test_a_download_that_does_not_fit_evicts_what_was_used_longest_ago(
    small_disk: Path, images: ImageServer, disks: Path
):
    cache = HostCache(small_disk / "cache", disks, reserve=MIB)
    oldest = aged(get(cache, images.source()), 4)
    overlay(disks, oldest)
    older, old = aged(get(cache, images.source()), 3), aged(get(cache, images.source()), 2)
    aged(oldest, 4)
    new = get(cache, images.source())
    assert [path.exists() for path in (oldest, older, old, new)] == [True, False, True, True]


def test_a_download_that_fits_nowhere_fails_at_once_and_leaves_all_as_it_was(
    small_disk: Path, images: ImageServer, disks: Path
):
    cache = HostCache(small_disk / "cache", disks, reserve=8 * MIB)
    with pytest.raises(HostFault, match="MiB must stay so") as caught:
        get(cache, images.source())
    assert (caught.value.code, caught.value.retriable) == ("disk_full", True)
    assert images.requests == 0
    assert not [path for path in cache.directory.iterdir() if path.suffix == ".part"]


def test_too_little_room_evicts_before_its_time(small_disk: Path, images: ImageServer, disks: Path):
    roomy = HostCache(small_disk / "cache", disks)
    first, second = aged(get(roomy, images.source()), 2), aged(get(roomy, images.source()), 1)
    cache = HostCache(small_disk / "cache", disks, reserve=6 * MIB)
    assert cache.tidy(24 * HOUR) == [first]
    assert second.exists()


def test_the_libvirt_driver_tidies_and_spares_what_its_guests_stand_on(
    tmp_path: Path, images: ImageServer
):
    pytest.importorskip("libvirt")
    hypervisor = Hypervisor("test", tmp_path, images, "test:///default")
    try:
        driver = hypervisor.driver(cache_keep_hours=1.0)
        plan = hypervisor.plan()
        driver.spawn(plan, threading.Event(), lambda percent, message: None)
        (base,) = (tmp_path / "state of n1/hosts/n1/cache").glob("*.image")
        aged(base)
        driver.tidy()
        assert base.exists()
        driver.destroy(plan.server_id, plan.fence)
        aged(base)
        driver.tidy()
        assert not base.exists()
    finally:
        hypervisor.close()
