"""The API behind a proxy: nginx with our configuration, and headers that nobody may forge."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.certificates import Authority, Pair
from tests.cloud import CHECKOUT, Cloud, eventually, free_port
from tests.http_client import Client

PROGRAM = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
NGINX = CHECKOUT / "deploy/nginx/novella.conf"
FORGED = {
    "X-Forwarded-For": "192.0.2.1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.test",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "host=evil.test;proto=https",
    "X-Forwarded-Ssl": "on",
}


@contextmanager
def web(directory: Path, **settings: str) -> Iterator[Cloud]:
    """The API alone, by plain HTTP."""
    directory.mkdir()
    made = Cloud(directory, settings=settings)
    try:
        made.prepare()
        made.start_web()
        yield made
    finally:
        made.stop()


@contextmanager
def nginx(directory: Path, pair: Pair, web_port: int) -> Iterator[int]:
    """nginx with the configuration of deploy/nginx, on a port of its own."""
    port = free_port()
    text = NGINX.read_text()
    for theirs, ours in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("127.0.0.1:8774", f"127.0.0.1:{web_port}"),
        ("/etc/novella/tls/certificate.pem", str(pair.certificate)),
        ("/etc/novella/tls/key.pem", str(pair.key)),
    ):
        assert text.count(theirs) == 1, theirs
        text = text.replace(theirs, ours)
    (directory / "novella.conf").write_text(text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    main = directory / "nginx.conf"
    main.write_text(
        f"daemon off; pid {directory}/nginx.pid; user root; events {{}}\n"
        f"http {{ access_log off; {folders} include {directory}/novella.conf; }}\n"
    )
    argv = [str(PROGRAM), "-e", str(directory / "error.log"), "-c", str(main)]
    process = subprocess.Popen(argv, cwd=directory)
    try:
        eventually(lambda: _listens(port), 10, "nginx listens")
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_without_a_trusted_proxy_forged_headers_are_nothing(tmp_path):
    with web(tmp_path / "web") as made:
        root = f"http://127.0.0.1:{made.web_port}"
        version = requests.get(f"{root}/identity/v3", headers=FORGED, timeout=10).json()["version"]
        assert version["links"][0]["href"].startswith(f"{root}/")


def test_behind_nginx_links_are_the_proxys_and_clients_cannot_forge_them(tmp_path):
    authority = Authority(tmp_path)
    if PROGRAM is None:
        pytest.skip("nginx is not installed: bin/setup")
    served, ca = authority.issue("127.0.0.1", "cloud.example.org"), str(authority.certificate)
    with (
        web(tmp_path / "web", trusted_proxies="1") as made,
        nginx(tmp_path, served, made.web_port) as port,
    ):
        root = f"https://127.0.0.1:{port}"
        for headers in ({}, FORGED):
            got = requests.get(f"{root}/identity/v3", headers=headers, timeout=10, verify=ca)
            assert got.json()["version"]["links"][0]["href"].startswith(f"{root}/identity")
        named = requests.get(
            f"{root}/identity/v3",
            headers={"Host": "cloud.example.org"},
            timeout=10,
            verify=ca,
        )
        link = named.json()["version"]["links"][0]["href"]
        assert link.startswith("https://cloud.example.org/identity")
        member = Client(root, password="novella-password", verify=ca)
        file = tmp_path / "disk.raw"
        file.write_bytes(os.urandom(3 << 20))
        image_id = member.upload(file, disk_format="raw", container_format="bare")
        data = member.call("GET", f"/image/v2/images/{image_id}/file").content
        assert data == file.read_bytes()
