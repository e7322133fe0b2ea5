"""`novella backup` and `novella restore`: a cloud in one file, and the same cloud out of it."""

from __future__ import annotations

import gzip
import io
import json
import os
import secrets
import stat
import subprocess
import tarfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy.orm import Session

from app.cli.backup import making, restoring
from app.cli.local import files
from app.cli.local.place import Place
from app.config import Settings, load
from app.errors import Conflict, Invalid, NovellaError, Unavailable
from app.images.keys import load_keys
from app.models import Base, Image, Project, User
from app.store.database import make_engine
from tests import templates
from tests.http_client import Client
from tests.integration.web_fixtures import Site
from tests.local_cloud import Local
from tests.postgres import fresh_database

pytest_plugins = ["tests.integration.web_fixtures"]


def log_in(local: Local, user: str = "novella") -> Client:
    password = (local.state / "secrets" / f"{user}-password").read_text().strip()
    return Client(f"http://127.0.0.1:{local.port}", user, password)


def names(client: Client) -> set[str]:
    servers = client.call("GET", "/compute/v2.1/servers").json()["servers"]
    return {server["name"] for server in servers}


@pytest.fixture
def two_places(tmp_path: Path) -> Iterator[tuple[Local, Local]]:
    """A running cloud, and a place for another."""
    original, restored = Local(tmp_path / "one"), Local(tmp_path / "two")
    (tmp_path / "two").mkdir()
    (tmp_path / "one").mkdir()
    up = original.up(NOVELLA_FAKE_DELAY="12")
    assert up.returncode == 0, up.stderr
    yield original, restored
    for local in (original, restored):
        local.down()
        assert local.ours() == []


def test_a_cloud_that_works_is_backed_up_and_works_again_elsewhere(
    two_places: tuple[Local, Local], tmp_path: Path
):
    original, restored = two_places
    client, archive = log_in(original), tmp_path / "cloud.tar.gz"
    content = os.urandom(3 << 20)
    about = {"name": "disk", "disk_format": "raw", "container_format": "bare"}
    image = client.call("POST", "/image/v2/images", 201, json=about).json()["id"]
    put = {"data": content, "headers": {"Content-Type": "application/octet-stream"}}
    client.call("PUT", f"/image/v2/images/{image}/file", 204, **put)
    key = client.call("POST", "/compute/v2.1/os-keypairs", 200, json={"keypair": {"name": "k"}})
    _, first = client.create(image, "first")
    assert client.finished(first)["state"] == "succeeded"
    _, second = client.create(image, "second")

    done = original.novella("backup", str(archive))
    assert done.returncode == 0, done.stderr
    assert client.task(second)["state"] != "succeeded", "the backup came too late for this test"
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    checked = original.novella("backup", "--check", str(archive))
    assert (checked.returncode, "is whole: cloud" in checked.stdout) == (0, True), checked.stderr
    client.create(image, "third")

    made = restored.novella("restore", str(archive), "--into", str(restored.state))
    assert made.returncode == 0, made.stderr
    up = restored.up()
    assert up.returncode == 0, up.stderr
    assert "a new cloud" not in up.stdout

    again = log_in(restored)
    assert log_in(restored, "admin").token
    again.session.headers["X-Auth-Token"] = client.token  # signed by the original
    assert names(again) == {"first", "second"}
    assert again.call("GET", f"/image/v2/images/{image}/file").content == content
    shown = again.call("GET", "/compute/v2.1/os-keypairs/k").json()["keypair"]
    assert shown["fingerprint"] == key.json()["keypair"]["fingerprint"]
    assert again.finished(second)["state"] == "succeeded"
    _, new = again.create(image, "new")
    assert again.finished(new)["state"] == "succeeded"
    assert "third" in names(client)


@pytest.fixture
def backup(site: Site, tmp_path: Path) -> Path:
    """A backup of a small cloud with an image and two keys."""
    site.add_image(content=b"an image" * 512)
    keys = site.directory / "keys"
    load_keys(keys)
    (keys / "0000 newest.key").write_text("newest\n")
    os.utime(keys / "0000 newest.key", (time.time() + 5.5, time.time() + 5.5))
    path = tmp_path / "backup.tar.gz"
    making.make(path, load(), None)
    return path


def rewritten(
    path: Path, change: Callable[[tarfile.TarInfo, bytes], list[tuple[str, bytes]]]
) -> Path:
    """The archive with each of its members replaced by what `change` makes of it."""
    made = path.with_name("rewritten.tar.gz")
    with tarfile.open(path) as old, tarfile.open(made, "w:gz") as new:
        for about in old:
            file = old.extractfile(about)
            for name, content in change(about, file.read() if file else b""):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
    return made


def manifest_with(**values: Any) -> Callable[[tarfile.TarInfo, bytes], list[tuple[str, bytes]]]:
    def change(about: tarfile.TarInfo, content: bytes) -> list[tuple[str, bytes]]:
        if about.name == "manifest.json":
            content = json.dumps(json.loads(content) | values).encode()
        return [(about.name, content)]

    return change


def assert_refused(path: Path, into: Path, words: str, kind: type[NovellaError] = Invalid) -> None:
    beside = sorted(into.parent.iterdir())
    with pytest.raises(kind, match=words):
        restoring.restore(path, into, "")
    assert sorted(into.parent.iterdir()) == beside


def test_what_is_restored_is_what_was_there(site: Site, backup: Path, tmp_path: Path):
    into = tmp_path / "new"
    restoring.restore(backup, into, "")
    assert rows(f"sqlite:///{into / 'novella.sqlite'}") == rows(load().database)
    for folder in ("images", "keys"):
        before = {path.name: path.read_bytes() for path in (site.directory / folder).iterdir()}
        assert before == {path.name: path.read_bytes() for path in (into / folder).iterdir()}
    assert load_keys(into / "keys") == load_keys(site.directory / "keys")
    assert load_keys(into / "keys")[0] == "newest"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in into.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert stat.S_IMODE(into.stat().st_mode) == 0o700


def unpacked(data: bytes) -> bytes | None:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return None


def test_any_flipped_byte_and_any_cut_is_noticed(backup: Path, tmp_path: Path):
    whole, broken = backup.read_bytes(), tmp_path / "broken.tar.gz"
    assert restoring.check(backup).members
    into = tmp_path / "places/new"
    into.parent.mkdir()
    refused = 0
    for place in range(20, len(whole) - 8, len(whole) // 23):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        broken.write_bytes(changed)
        if unpacked(changed) != unpacked(whole):  # within long zeros a flip may mean the same
            assert_refused(broken, into, "damaged|no backup|cut off")
            refused += 1
    assert refused > 15
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 100):
        broken.write_bytes(whole[:length])
        assert_refused(broken, into, "damaged|no backup|cut off")
    broken.write_text("not a backup at all")
    assert_refused(broken, into, "no backup")


@pytest.mark.parametrize(
    "name",
    ["../evil", "/tmp/evil", "images/../../evil", "images/.hidden", "keys/a/b", "etc/passwd", ""],
)
def test_a_member_cannot_lead_elsewhere(backup: Path, tmp_path: Path, name: str):
    odd = rewritten(backup, lambda about, content: [(about.name, content), (name, b"x")])
    assert_refused(odd, tmp_path / "new", "no backup|damaged")


def test_links_and_folders_are_no_members(backup: Path, tmp_path: Path):
    odd = tmp_path / "odd.tar.gz"
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
        with tarfile.open(odd, "w:gz") as tar:
            link = tarfile.TarInfo("keys/link.key")
            link.type, link.linkname = kind, "/etc/passwd"
            tar.addfile(link)
        assert_refused(odd, tmp_path / "new", "is not a file of its own")


def test_too_many_too_few_and_changed_members_are_noticed(backup: Path, tmp_path: Path):
    def of_images(*replaced: tuple[str, bytes]) -> Path:
        def change(about: tarfile.TarInfo, content: bytes) -> list[tuple[str, bytes]]:
            is_image = about.name.startswith("images/")
            return list(replaced) if is_image else [(about.name, content)]

        return rewritten(backup, change)

    for odd in (of_images(), of_images(("images/other", b"an image" * 512))):
        assert_refused(odd, tmp_path / "new", "is not as the manifest says")
    twice = rewritten(backup, lambda about, content: [(about.name, content)] * 2)
    assert_refused(twice, tmp_path / "new", "not a file of its own")


def test_newer_and_foreign_backups_are_refused_by_name(backup: Path, tmp_path: Path):
    for values, words in (
        ({"revision": "9999"}, "its schema 9999 is unknown here, so a newer Novella made it"),
        ({"format": "other"}, "no backup of Novella's"),
        ({"format_version": 2}, "made by another Novella"),
        ({"database": "oracle"}, "no database"),
        ({"members": 5}, "manifest cannot be read"),
    ):
        assert_refused(rewritten(backup, manifest_with(**values)), tmp_path / "new", words)


def test_only_an_empty_directory_is_filled(backup: Path, tmp_path: Path):
    into = tmp_path / "new"
    into.mkdir()
    (into / "mine").write_text("kept")
    assert_refused(backup, into, "is not empty", Conflict)
    assert (into / "mine").read_text() == "kept"
    (into / "mine").unlink()
    restoring.restore(backup, into, "")
    assert (into / "novella.toml").exists()


def test_a_backup_does_not_replace_a_file_and_leaves_none_when_it_fails(
    site: Site, backup: Path, tmp_path: Path
):
    before = backup.read_bytes()
    with pytest.raises(Conflict, match="exists"):
        making.make(backup, load(), None)
    assert backup.read_bytes() == before
    (site.directory / "keys" / "bad\nname.key").write_text("x")
    with pytest.raises(Invalid, match="a backup has no file"):
        making.make(tmp_path / "other.tar.gz", load(), None)
    assert [path.name for path in tmp_path.iterdir() if "other" in path.name] == []


def test_an_image_that_is_deleted_meanwhile_is_told_and_deleted_there(site: Site, tmp_path: Path):
    image_id, kept = site.add_image(), site.add_image()
    (site.directory / "images" / image_id).unlink()
    path, into = tmp_path / "backup.tar.gz", tmp_path / "new"
    assert making.make(path, load(), None).lost_images == [image_id]
    restoring.restore(path, into, "")
    engine = make_engine(f"sqlite:///{into / 'novella.sqlite'}")
    with Session(engine) as session:
        assert session.get_one(Image, image_id).status == "deleted"
        assert session.get_one(Image, kept).status == "active"
    engine.dispose()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, timeout=10, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=10)


def test_too_little_room_is_said_before_anything_is_written(
    site: Site, backup: Path, small_disk: Path
):
    with pytest.raises(Unavailable, match="MiB are free"):
        making.make(small_disk / "backup.tar.gz", load(), None)
    assert_refused(backup, small_disk / "new", "MiB are free", Unavailable)
    assert list(small_disk.iterdir()) == []


def test_places_in_the_settings_move_along_and_the_certificate_too(site: Site, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("c.pem", "k.pem"):
        (outside / name).write_text(name)
    config = site.directory / "novella.toml"
    old = {
        "state_dir": str(site.directory),
        "runtime_dir": "/run/old",
        "cache_dir": f"{site.directory}/cache",
        "failpoints": "/elsewhere",
        "libvirt_uri": "qemu+unix:///system?socket=/run/old/libvirt/libvirt-sock",
        "port": 1234,
        "tls_certificate": str(outside / "c.pem"),
        "tls_key": str(outside / "k.pem"),
    }
    files.write_settings(Place(site.directory, site.directory), old)
    path, into = tmp_path / "backup.tar.gz", tmp_path / "new"
    made = making.make(path, load({"NOVELLA_CONFIG": str(config)}), config)
    restoring.restore(path, into, "")
    assert files.read_settings(Place(into, into)) == {
        "state_dir": str(into),
        "cache_dir": f"{into}/cache",
        "failpoints": "/elsewhere",
        "port": 1234,
        "tls_certificate": str(into / "tls/certificate.pem"),
        "tls_key": str(into / "tls/key.pem"),
        "cloud_id": made.cloud_id,
    }
    assert (into / "tls/key.pem").read_text() == "k.pem"


def test_a_backup_under_writes_is_of_one_moment(site: Site, tmp_path: Path):
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            site.add_user(f"user-{secrets.token_hex(6)}")

    writer = threading.Thread(target=write)
    writer.start()
    counts = []
    try:
        for number in range(4):
            path, into = tmp_path / f"{number}.tar.gz", tmp_path / f"new-{number}"
            making.make(path, load(), None)
            restoring.restore(path, into, "")
            found = rows(f"sqlite:///{into / 'novella.sqlite'}")
            counts.append((len(found[User.__tablename__]), len(found[Project.__tablename__])))
    finally:
        ended.set()
        writer.join(20)
    assert all(users == projects for users, projects in counts)
    assert counts[0] < counts[-1]


def rows(url: str) -> dict[str, list[str]]:
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            return {
                table.name: sorted(str(tuple(row)) for row in connection.execute(table.select()))
                for table in Base.metadata.sorted_tables
            }
    finally:
        engine.dispose()


@pytest.fixture
def on_postgres(postgres: str, tmp_path: Path) -> Settings:
    url = fresh_database(postgres, f"b{secrets.token_hex(6)}")
    templates.started(url)
    (tmp_path / "state").mkdir()
    return Settings(
        state_dir=tmp_path / "state", database_url=url.replace("postgres@", "postgres:hunter2@")
    )


def test_postgresql_comes_back_row_by_row_and_its_password_is_on_no_command_line(
    on_postgres: Settings, postgres: str, tmp_path: Path
):
    path, into = tmp_path / "backup.tar.gz", tmp_path / "new"
    commands: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            for child in psutil.Process().children(recursive=True):
                try:
                    commands.add(" ".join(child.cmdline()))
                except psutil.Error:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    target = fresh_database(postgres, f"b{secrets.token_hex(6)}")
    target = target.replace("postgres@", "postgres:hunter2@")
    try:
        making.make(path, on_postgres, None)
        for url, words in (("", "give --database-url"), ("sqlite:///x", "so must that be")):
            with pytest.raises(Invalid, match=words):
                restoring.restore(path, into, url)
        with pytest.raises(Conflict, match="is not empty"):
            restoring.restore(path, into, on_postgres.database_url)
        assert not into.exists()
        restoring.restore(path, into, target)
    finally:
        ended.set()
        watcher.join(10)
    assert rows(target) == rows(on_postgres.database_url)
    assert files.read_settings(Place(into, into))["database_url"] == target
    assert sorted(one.name for one in into.iterdir()) == ["novella.toml"]
    assert any("pg_dump" in one for one in commands)
    assert any("pg_restore" in one for one in commands)
    assert not any("hunter2" in one for one in commands)


def test_a_postgresql_that_is_away_is_said_without_its_password(tmp_path: Path):
    settings = Settings(
        state_dir=tmp_path, database_url="postgresql+psycopg://u:hunter2@127.0.0.1:1/x"
    )
    with pytest.raises(Unavailable, match="database postgresql") as caught:
        making.make(tmp_path / "backup.tar.gz", settings, None)
    assert "hunter2" not in str(caught.value)


def test_the_commands_say_in_one_line_what_is_wrong(tmp_path: Path):
    local = Local(tmp_path)
    for args, words in (
        (("backup", str(tmp_path / "f")), "there is no database"),
        (("backup", "--check", str(tmp_path / "absent")), "No such file"),
        (("restore", str(tmp_path / "absent"), "--into", str(tmp_path / "x")), "No such file"),
    ):
        done = local.novella(*args)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert words in done.stderr
