"""TLS: by the API itself, for clients, the CLI and hosts; and by nginx in front of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import requests
import yaml

from app import tls
from app.config import Settings
from app.domain.message import ImageSource, image_url
from app.errors import HostFault, Invalid
from app.images.access import make_token
from app.images.download import Download
from app.images.host_cache import HostCache
from app.images.keys import load_keys
from tests.certificates import Authority, Pair, self_signed
from tests.cloud import CHECKOUT
from tests.http_client import Client
from tests.integration.test_join import Machine
from tests.local_cloud import Local


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Pair:
    """The API's own certificate and key."""
    issued = authority.issue("127.0.0.1", "cloud.test")
    folder = tmp_path_factory.mktemp("pair")
    shutil.copy(issued.certificate, folder / "certificate.pem")
    shutil.copy(issued.key, folder / "key.pem")
    return Pair(folder / "certificate.pem", folder / "key.pem")


@pytest.fixture(scope="module")
def cloud(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, pair: Pair
) -> Iterator[Local]:
    """A cloud whose API speaks TLS, with a certificate of its own CA."""
    made = Local(tmp_path_factory.mktemp("tls"))
    done = made.up(
        NOVELLA_TLS_CERTIFICATE=str(pair.certificate),
        NOVELLA_TLS_KEY=str(pair.key),
        NOVELLA_TLS_CA=str(authority.certificate),
        NOVELLA_BEAT_SECONDS="1",
    )
    assert done.returncode == 0, done.stderr
    assert f"https://127.0.0.1:{made.port}" in done.stdout
    yield made
    made.down()


@pytest.fixture(scope="module")
def member(cloud: Local, authority: Authority) -> Client:
    """Its member, who knows the CA."""
    password = (cloud.state / "secrets/novella-password").read_text().strip()
    root = f"https://127.0.0.1:{cloud.port}"
    return Client(root, password=password, verify=str(authority.certificate))


def test_clients_get_https_and_the_ca_from_clouds_yaml(cloud, member, authority):
    entry = yaml.safe_load((cloud.state / "clouds.yaml").read_text())["clouds"]["novella"]
    assert entry["cacert"] == str(authority.certificate)
    assert entry["auth"]["auth_url"] == f"https://127.0.0.1:{cloud.port}/identity"
    catalog = member.call("GET", "/identity/v3/auth/catalog").json()["catalog"]
    urls = [point["url"] for service in catalog for point in service["endpoints"]]
    assert urls
    assert all(url.startswith(f"https://127.0.0.1:{cloud.port}/") for url in urls)
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://127.0.0.1:{cloud.port}/healthz", timeout=10)


def test_the_command_line_knows_the_ca(cloud):
    assert cloud.novella("task", "list").stdout == "no tasks\n"
    assert cloud.novella("status").returncode == 0
    assert cloud.novella("up", "--no-guest").returncode == 0


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
def test_old_tls_and_plain_http_are_refused(cloud, authority):
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.set_ciphers("DEFAULT@SECLEVEL=0")  # ours would refuse the old version by itself
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", cloud.port), timeout=10) as raw,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(raw, server_hostname="127.0.0.1")
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(f"http://127.0.0.1:{cloud.port}/healthz", timeout=10)


def test_a_host_joins_and_trusts_the_ca_that_it_was_given(cloud, authority, tmp_path):
    machine = Machine(cloud, tmp_path)
    token = cloud.novella("host", "token", "--quiet").stdout.strip()
    args = ("--cloud", f"https://127.0.0.1:{cloud.port}", "--token", token)
    machine.directory.mkdir(exist_ok=True)
    refused = machine.join("n2", *args)
    assert (refused.returncode, "certificate is not trusted" in refused.stderr) == (1, True)
    try:
        joined = machine.join("n2", *args, "--cacert", str(authority.certificate))
        assert joined.returncode == 0, joined.stderr
        assert 'tls_ca = "' in (machine.state / "novella.toml").read_text()
    finally:
        machine.host("leave", "--force")
    assert machine.processes() == []


def test_a_host_downloads_images_by_tls(cloud, member, authority, tmp_path):
    content = os.urandom(1 << 20)
    file = tmp_path / "disk.raw"
    file.write_bytes(content)
    about = {"disk_format": "raw", "container_format": "bare"}
    image_id = member.upload(file, **about)
    source = ImageSource(
        id=image_id,
        url=image_url(f"https://127.0.0.1:{cloud.port}", image_id),
        token=make_token(load_keys(cloud.state / "keys"), image_id, "a", 60),
        size=len(content),
        checksum_algorithm="sha512",
        checksum=hashlib.sha512(content).hexdigest(),
        disk_format="raw",
    )
    cache = HostCache(tmp_path / "cache", tmp_path / "disks", ca=authority.certificate)
    with cache.lease(source, threading.Event(), lambda *args: None) as path:
        assert path.read_bytes() == content
    stranger = Download(source, tmp_path / "download")
    assert stranger.finished.wait(30)
    with pytest.raises(HostFault, match="SSLError"):
        stranger.result()


def test_a_renewed_certificate_is_served_without_a_restart(cloud, pair, authority):
    served = ("127.0.0.1", cloud.port)
    before = ssl.get_server_certificate(served, timeout=10)
    renewed = authority.issue("127.0.0.1", "renewed.test")
    for new, old in ((renewed.key, pair.key), (renewed.certificate, pair.certificate)):
        # Between the two the pair does not match, and the former one is served on.
        assert ssl.get_server_certificate(served, timeout=10) == before
        shutil.copy(new, old)
    assert ssl.get_server_certificate(served, timeout=10) != before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tls_key": None}, "setting tls_key: tls_certificate is set"),
        ({"tls_certificate": None}, "setting tls_certificate: tls_key is set"),
        ({"tls_certificate": "missing"}, "missing: No such file"),
        ({"tls_key": "other"}, "is not the key of the certificate"),
        ({"tls_key": "certificate"}, "holds no PEM private key"),
        ({"tls_certificate": "key"}, "holds no PEM certificate"),
    ],
)
def test_a_pair_that_cannot_be_served_is_explained(authority, tmp_path, change, words):
    pair, other = authority.issue("a.test"), authority.issue("b.test")
    files = {
        "certificate": pair.certificate,
        "key": pair.key,
        "other": other.key,
        "missing": tmp_path / "missing",
    }
    chosen = {"tls_certificate": "certificate", "tls_key": "key"} | change
    settings = Settings(**{name: files.get(which) for name, which in chosen.items()})
    with pytest.raises(Invalid, match=words):
        tls.check(settings)


def test_up_says_that_the_certificate_is_for_another_name(authority, tmp_path):
    pair = authority.issue("cloud.test")
    local = Local(tmp_path)
    failed = local.up(NOVELLA_TLS_CERTIFICATE=str(pair.certificate), NOVELLA_TLS_KEY=str(pair.key))
    assert failed.returncode == 1
    assert "it is for cloud.test, and not for 127.0.0.1: set public_url to https://NAME:" in (
        failed.stderr
    )
    assert local.ours() == []


def test_gunicorn_says_it_too(authority, tmp_path):
    env = {"NOVELLA_TLS_CERTIFICATE": str(authority.issue("c.test").certificate)}
    argv = ["-m", "gunicorn", "-c", "python:app.web.gunicorn", "app.web.wsgi"]
    done = subprocess.run(
        [sys.executable, *argv],
        env=os.environ | env | {"NOVELLA_STATE_DIR": str(tmp_path)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "web: setting tls_key: tls_certificate is set, so this is needed too" in done.stderr


def test_names_are_matched_as_clients_do(authority, tmp_path):
    pair = authority.issue("*.cloud.test", "10.0.0.1")

    def settings(url: str) -> Settings:
        return Settings(tls_certificate=pair.certificate, tls_key=pair.key, public_url=url)

    for good in ("https://api.cloud.test:8774", "https://10.0.0.1"):
        tls.require_name(settings(good))
    for bad in ("https://cloud.test", "https://a.b.cloud.test", "https://10.0.0.2"):
        with pytest.raises(Invalid):
            tls.require_name(settings(bad))
    assert tls.is_self_signed(self_signed(tmp_path, "x.test").certificate)
    assert not tls.is_self_signed(pair.certificate)
