"""`auth = keystone` against a real Keystone: OpenStack's SDK on a cloud with a fake host."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openstack
import pytest
import requests
import yaml
from openstack.connection import Connection
from openstack.exceptions import ForbiddenException, NotFoundException
from sqlalchemy import select

from app.models import Keypair, Project, User
from tests.cloud import Cloud, allowed, eventually, running
from tests.keystone_server import (
    ADMIN_PASSWORD,
    SERVICE_PASSWORD,
    KeystoneServer,
    environment,
)

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore:::openstack"),
]
LIMIT = 5.0
PEOPLE = {
    "ann": ("red", "member"),
    "rita": ("red", "reader"),
    "bob": ("blue", "member"),
}


@pytest.fixture(scope="module")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeystoneServer]:
    """Keystone, which `fill` starts."""
    if not (environment() / "bin/keystone-manage").exists():
        pytest.fail(f"Keystone is not in {environment()}: run bin/setup --keystone")
    made = KeystoneServer(tmp_path_factory.mktemp("keystone"))
    try:
        yield made
    finally:
        made.stop()


def fill(keystone: KeystoneServer) -> None:
    """Start Keystone, with our service's user and the tests' people."""
    keystone.prepare()
    keystone.start()
    for project in ("service", "red", "blue"):
        keystone.add("project", project, domain_id="default")
    keystone.add("user", "novella", domain_id="default", password=SERVICE_PASSWORD)
    keystone.grant("novella", "service", "service")
    for name, (project, role) in PEOPLE.items():
        keystone.add("user", name, domain_id="default", password=f"{name}-password")
        keystone.grant(name, project, role)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, keystone: KeystoneServer) -> Iterator[Cloud]:
    """A cloud whose people are Keystone's, and which is in Keystone's catalog."""
    folder = tmp_path_factory.mktemp("cloud")
    secret = folder / "keystone-password"
    secret.write_text(SERVICE_PASSWORD + "\n")
    settings = {
        "auth": "keystone",
        "keystone_url": f"{keystone.url}/v3",
        "keystone_password_file": str(secret),
        "keystone_ca": str(keystone.ca),
        "keystone_timeout": str(LIMIT),
        "keystone_cache_seconds": "1",
    }
    with ThreadPoolExecutor(1) as aside, running(Cloud(folder, settings=settings)) as made:
        filled = aside.submit(fill, keystone)  # both take some seconds to start
        made.start_web()
        made.start_control()
        made.start_host("n1")
        filled.result(120)
        root = f"http://127.0.0.1:{made.web_port}"
        for kind, path in (
            ("compute", "/compute/v2.1"),
            ("image", "/image"),
            ("network", "/network"),
        ):
            service = keystone.add("service", f"our {kind}", type=kind)
            about = {"service_id": service, "interface": "public", "region_id": "Here"}
            keystone.add("endpoint", f"{kind} endpoint", url=root + path, **about)
        made.hosts_up("n1")
        yield made


def connect(keystone: KeystoneServer, user: str, project: str, **more: str) -> Connection:
    """The SDK as this user, with nothing but Keystone's address."""
    auth = {
        "auth_url": f"{keystone.url}/v3",
        "username": user,
        "password": more.get("password", f"{user}-password"),
        "project_name": project,
        "user_domain_id": "default",
        "project_domain_id": "default",
    }
    return openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        region_name="Here",
        auth=auth,
        cacert=str(keystone.ca),
    )


def get(cloud: Cloud, path: str, token: str = "", **headers: str) -> requests.Response:
    """GET from the cloud's web."""
    sent = headers | ({"X-Auth-Token": token} if token else {})
    return requests.get(f"http://127.0.0.1:{cloud.web_port}{path}", headers=sent, timeout=30)


SERVERS = "/compute/v2.1/servers"


def test_members_work_readers_read_and_projects_are_apart(
    cloud: Cloud, keystone: KeystoneServer, tmp_path: Path
) -> None:
    ann, rita, bob = (connect(keystone, name, PEOPLE[name][0]) for name in PEOPLE)
    content = tmp_path / "image"
    content.write_bytes(b"x" * 4096)
    image = ann.create_image(
        "tiny", filename=str(content), disk_format="raw", container_format="bare", wait=True
    )
    wanted: dict[str, Any] = {"image": image.id, "flavor": "6", "network": "default"}
    made = ann.create_server("first", auto_ip=False, **wanted)
    server = ann.compute.wait_for_server(made, interval=0.2, wait=60)
    assert server.status == "ACTIVE"
    assert server.project_id == keystone.ids["red"]
    assert [one.id for one in rita.compute.servers()] == [server.id]
    with pytest.raises(ForbiddenException):
        rita.create_server("refused", auto_ip=False, **wanted)
    assert list(bob.compute.servers()) == []
    with pytest.raises(NotFoundException):
        bob.compute.get_server(server.id)
    admin = connect(keystone, "admin", "admin", password=ADMIN_PASSWORD)
    everywhere = list(admin.compute.servers(all_projects=True))
    assert [(one.id, one.user_id) for one in everywhere] == [(server.id, keystone.ids["ann"])]
    with pytest.raises(ForbiddenException):
        list(ann.compute.servers(all_projects=True, project_id=keystone.ids["blue"]))
    assert ann.delete_server(server.id, wait=True, timeout=60)
    assert list(ann.compute.servers()) == []


def test_a_token_for_the_system_is_told_to_take_a_project(
    cloud: Cloud, keystone: KeystoneServer
) -> None:
    answer = get(cloud, SERVERS, keystone.token("admin", None, ADMIN_PASSWORD))
    assert answer.status_code == 403
    assert "scoped to a project" in answer.json()["forbidden"]["message"]


def test_what_is_no_token_gets_a_401_that_names_keystone(
    cloud: Cloud, keystone: KeystoneServer
) -> None:
    token = keystone.token("bob", "blue", "bob-password")
    assert get(cloud, SERVERS, token).status_code == 200
    forged = token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB")
    odd = ("nonsense", "x" * 5000, '%00"<>\\{}', "\u00e9", "two words", "gAAAA")
    for wrong in ("", forged, keystone.ids["bob"], *odd):
        for path, shape in ((SERVERS, "unauthorized"), ("/network/v2.0/networks", "NeutronError")):
            answer = get(cloud, path, wrong)
            assert (answer.status_code, list(answer.json())) == (401, [shape])
            assert answer.headers["WWW-Authenticate"] == f'Keystone uri="{keystone.url}"'
    keystone.call("DELETE", "/auth/tokens", headers={"X-Subject-Token": token})
    eventually(
        lambda: get(cloud, SERVERS, token).status_code == 401, 5, "the revoked token is void"
    )


def test_headers_of_the_middleware_s_make_nobody_an_administrator(
    cloud: Cloud, keystone: KeystoneServer
) -> None:
    claims = {"X-Identity-Status": "Confirmed", "X-Roles": "admin", "X-User-Id": "x"}
    claims |= {"X-Project-Id": keystone.ids["red"], "OpenStack-System-Scope": "all"}
    assert get(cloud, SERVERS, **claims).status_code == 401
    token = keystone.token("rita", "red", "rita-password")
    assert get(cloud, "/compute/v2.1/os-hypervisors", token, **claims).status_code == 403


def test_documents_of_discovery_need_no_token_and_identity_is_keystone_s(
    cloud: Cloud, keystone: KeystoneServer
) -> None:
    for path in ("/compute", "/compute/v2.1", "/image/versions", "/network", "/healthz"):
        assert get(cloud, path).status_code in (200, 300), path
    told = get(cloud, "/identity/v3").json()["version"]["links"][0]["href"]
    assert told == f"{keystone.url}/v3/"
    for path in ("/identity/v3/users", "/identity/v3/auth/tokens"):
        answer = get(cloud, path, keystone.token("admin", "admin", ADMIN_PASSWORD))
        assert answer.status_code == 404
        assert keystone.url in answer.json()["error"]["message"]
    document = get(cloud, "/openapi.json").json()["paths"]
    assert [path for path in document if path.startswith("/identity")] == [
        "/identity",
        "/identity/v3",
    ]


def test_machines_join_with_tokens_of_the_cloud_s_own(
    cloud: Cloud, keystone: KeystoneServer
) -> None:
    admin = {"X-Auth-Token": keystone.token("admin", "admin", ADMIN_PASSWORD)}
    root = f"http://127.0.0.1:{cloud.web_port}/v1/hosts"
    token = requests.post(f"{root}/tokens", json={}, headers=admin, timeout=30).json()["token"]
    machine = {"token": token, "name": "n9", "uuid": "0" * 8 + "-0000-0000-0000-" + "0" * 12}
    answer = requests.post(f"{root}/standing", json=machine, timeout=30)
    assert answer.status_code == 200, answer.text


def test_projects_and_users_are_known_before_they_come_and_followed_when_renamed(
    cloud: Cloud, keystone: KeystoneServer
) -> None:
    green = keystone.add("project", "green", domain_id="default")
    zoe = keystone.add("user", "zoe", domain_id="default", password="zoe-password")
    admin = connect(keystone, "admin", "admin", password=ADMIN_PASSWORD)
    assert admin.compute.get_quota_set(green).instances == 10
    admin.set_compute_quotas(green, instances=3)
    answer = get(cloud, "/compute/v2.1/os-quota-sets/" + "f" * 32, admin.auth_token)
    assert answer.status_code == 400
    assert "is not a valid project" in answer.json()["badRequest"]["message"]
    admin.compute.create_keypair(name="zoes", user_id=zoe)
    assert cloud.scalars(select(Keypair.name).where(Keypair.user_id == zoe)) == ["zoes"]
    assert cloud.scalars(select(User.name).where(User.id == zoe)) == ["zoe"]
    keystone.call("PATCH", f"/projects/{green}", json={"project": {"name": "olive"}})
    keystone.grant("zoe", "green", "member")
    assert get(cloud, SERVERS, keystone.token("zoe", "olive", "zoe-password")).status_code == 200
    assert cloud.scalars(select(Project.name).where(Project.id == green)) == ["olive"]


def test_access_rules_of_an_application_credential_hold(
    cloud: Cloud, keystone: KeystoneServer
) -> None:
    ann = connect(keystone, "ann", "red")
    paths = ("/(.+)+x", "/v2.1/(", "/v2.1/{kind}/det*", "/v2.1/servers")
    rules = [{"service": "compute", "method": "GET", "path": path} for path in paths]
    made = ann.identity.create_application_credential(
        user=keystone.ids["ann"], name="only lists", access_rules=rules
    )
    limited = openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        region_name="Here",
        cacert=str(keystone.ca),
        auth_type="v3applicationcredential",
        auth={
            "auth_url": keystone.url,
            "application_credential_id": made.id,
            "application_credential_secret": made.secret,
        },
    )
    token = limited.auth_token
    for _ in range(2):  # the second time nothing is remembered of the first
        assert get(cloud, SERVERS, token).status_code == 200
        assert get(cloud, f"{SERVERS}/detail", token).status_code == 200
        assert get(cloud, "/compute/v2.1/flavors", token).status_code == 401
        assert get(cloud, f"{SERVERS}/{'a' * 40}", token).status_code == 401
        assert get(cloud, f"{SERVERS}/%E6%97%A5", token).status_code == 401


def test_odd_paths_and_ids_of_one_caller_are_no_matter_of_others(
    cloud: Cloud, keystone: KeystoneServer
) -> None:
    admin = keystone.token("admin", "admin", ADMIN_PASSWORD)
    for odd in ("%2e%2e", "caf%C3%A9", "a%3Fb", "x" * 65):
        assert get(cloud, f"/compute/v2.1/os-quota-sets/{odd}", admin).status_code in (400, 404)
        assert get(cloud, f"{SERVERS}/{odd}", admin).status_code == 404
        fresh = keystone.token("bob", "blue", "bob-password")
        assert get(cloud, SERVERS, fresh).status_code == 200


def test_novella_s_own_command_finds_the_cloud_in_keystone_s_catalog(
    cloud: Cloud, keystone: KeystoneServer
) -> None:
    auth = {"auth_url": f"{keystone.url}/v3", "username": "ann", "password": "ann-password"}
    entry = {"auth": auth | {"project_name": "red"}, "region_name": "Here"}
    clouds = {"clouds": {"red": entry | {"cacert": str(keystone.ca)}}}
    (cloud.directory / "clouds.yaml").write_text(yaml.safe_dump(clouds))
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "task", "list", "--cloud", "red"],
        env=cloud.env(),
        cwd=cloud.directory,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_keystone_there_is_a_503_in_time_and_with_it_again_all_is_well(
    cloud: Cloud, keystone: KeystoneServer
) -> None:
    token = keystone.token("bob", "blue", "bob-password")
    assert get(cloud, SERVERS, token).status_code == 200
    keystone.hang(True)
    _gets_503_in_time(cloud, token)
    assert get(cloud, "/healthz").status_code == 200
    keystone.hang(False)
    eventually(lambda: get(cloud, SERVERS, token).status_code == 200, 20, "it goes on")
    keystone.stop()
    _gets_503_in_time(cloud, token)
    keystone.start(expiration=3)
    eventually(lambda: get(cloud, SERVERS, token).status_code == 200, 20, "it is back")
    short = keystone.token("bob", "blue", "bob-password")
    assert get(cloud, SERVERS, short).status_code == 200
    eventually(lambda: get(cloud, SERVERS, short).status_code == 401, 10, "the token expires")
    # A service may go on in the name of who asked it in time; nobody else may.
    service = keystone.token("novella", "service", SERVICE_PASSWORD)
    assert get(cloud, SERVERS, short, **{"X-Service-Token": service}).status_code == 200
    bob = keystone.token("bob", "blue", "bob-password")
    assert get(cloud, SERVERS, short, **{"X-Service-Token": bob}).status_code == 401


def _gets_503_in_time(cloud: Cloud, token: str) -> None:
    def refused() -> list[requests.Response]:
        begun = time.monotonic()
        answer = get(cloud, SERVERS, token)
        assert time.monotonic() - begun < allowed(LIMIT + 2)
        return [] if answer.status_code == 200 else [answer]  # it is remembered for a second

    (answer,) = eventually(refused, 10, "the token is forgotten")
    assert answer.status_code == 503
    assert "Keystone" in answer.json()["serviceUnavailable"]["message"]
    assert answer.headers["Retry-After"] == "2"


def test_no_secret_is_in_the_log(cloud: Cloud) -> None:
    log = cloud.log("web")
    assert "keystone" in log.lower()
    for secret in (SERVICE_PASSWORD, ADMIN_PASSWORD, "gAAAA"):
        assert secret not in log
    assert "Traceback" not in log
