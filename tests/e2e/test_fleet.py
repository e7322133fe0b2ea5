"""Several real hypervisors: two join a running cloud with one command each, and then trouble."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cloud import eventually
from tests.e2e.fleet import Fleet, fleet, ip
from tests.http_client import Client
from tests.integration.virt_fixtures import require_libvirtd

pytestmark = [pytest.mark.alone, pytest.mark.timeout(900)]
MINUTE = 60.0
ENDS_WITHIN = 300.0


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A cloud of one host, and two machines that have not joined yet."""
    require_libvirtd()
    with fleet(tmp_path_factory.mktemp("fleet")) as made:
        yield made


@pytest.fixture(scope="module")
def image(hosts: Fleet, tiny_image: Path) -> str:
    """The tiny image, public, and room in the quota for all servers."""
    admin = hosts.client("admin")
    project = hosts.client("novella").call("GET", "/identity/v3/auth/projects").json()
    path = f"/compute/v2.1/os-quota-sets/{project['projects'][0]['id']}"
    admin.call("PUT", path, json={"quota_set": {"instances": 40, "cores": 40}})
    return admin.upload(tiny_image, visibility="public")


def states(admin: Client) -> dict[str, str]:
    return {one["name"]: one["state"] for one in admin.call("GET", "/v1/hosts").json()["hosts"]}


def create(client: Client, image: str, count: int, name: str) -> tuple[list[str], list[str]]:
    """Ask for several at once; (server ids, task ids)."""
    made = [client.create(image, f"{name}-{number}") for number in range(count)]
    return [server for server, _ in made], [task for _, task in made]


def well(client: Client, tasks: list[str]) -> None:
    """Every task ends, and ends well."""
    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(lambda task: client.finished(task, ENDS_WITHIN), tasks))
    assert [(one["kind"], one["host"], one["fault"]) for one in ended if one["fault"]] == []
    assert {one["state"] for one in ended} == {"succeeded"}


def test_a_machine_becomes_a_hypervisor_with_one_command(hosts: Fleet) -> None:
    for member in hosts.members:
        made = hosts.cloud.novella("host", "token", "--quiet")
        assert made.returncode == 0, made.stderr
        token = ["--token", made.stdout.strip(), "--libvirt-uri", member.uri]
        joined = member.host("join", "--cloud", hosts.root, "--name", member.name, *token)
        assert joined.returncode == 0, joined.stdout + joined.stderr
    assert states(hosts.client("admin")) == {"n1": "up", "n2": "up", "n3": "up"}


def test_a_machine_that_takes_another_s_name_is_refused(hosts: Fleet) -> None:
    clone = hosts.members[1]
    token = hosts.cloud.novella("host", "token", "--quiet").stdout.strip()
    before = clone.state
    clone.state = before.with_name("state of a clone")
    try:
        refused = clone.host(
            *("join", "--cloud", hosts.root, "--name", "n2", "--token", token),
            *("--libvirt-uri", clone.uri),
        )
    finally:
        clone.state = before
    assert refused.returncode == 1
    assert "n2" in refused.stdout + refused.stderr
    assert states(hosts.client("admin"))["n2"] == "up"


def test_twelve_servers_spread_over_three_hosts_and_leave_nothing_behind(
    hosts: Fleet, image: str
) -> None:
    before, client, admin = hosts.listing(), hosts.client("novella"), hosts.client("admin")
    servers, tasks = create(client, image, 12, "spread")
    well(client, tasks)
    path = "/compute/v2.1/servers/detail?all_tenants=1"
    placed = Counter(
        one["OS-EXT-SRV-ATTR:host"] for one in admin.call("GET", path).json()["servers"]
    )
    assert sum(placed.values()) == 12
    assert len(placed) == 3
    assert min(placed.values()) >= 3, placed
    assert hosts.running() == sorted(servers)
    well(client, [client.delete(server) for server in servers])
    eventually(lambda: hosts.listing() == before, 30, "every host is as before")


def test_all_that_was_accepted_ends_well_though_a_worker_a_libvirtd_and_a_link_die(
    hosts: Fleet, image: str
) -> None:
    client, admin = hosts.client("novella"), hosts.client("admin")
    servers, tasks = create(client, image, 6, "steady")
    well(client, tasks)
    without_worker, cut_off = hosts.members
    tasks = []

    since = time.monotonic()
    without_worker.kill_worker()
    ip("link", "set", cut_off.link, "down")
    kill_libvirtd(hosts)
    more, made = create(client, image, 6, "amid")
    tasks += made
    tasks += [client.act(server, **{"os-stop": None}) for server in servers[:3]]
    tasks += [client.act(server, reboot={"type": "HARD"}) for server in servers[3:5]]
    tasks += [client.delete(servers[5])]
    eventually(
        lambda: states(admin)["n2"] == states(admin)["n3"] == "down", MINUTE, "both are missed"
    )
    late, made = create(client, image, 2, "late")
    tasks += made
    well(client, made)  # there is still a host that works
    eventually(lambda: time.monotonic() - since > MINUTE, 2 * MINUTE, "a minute is over")

    ip("link", "set", cut_off.link, "up")
    back = without_worker.host("start")
    assert back.returncode == 0, back.stdout + back.stderr
    eventually(lambda: set(states(admin).values()) == {"up"}, 2 * MINUTE, "all hosts are back")
    well(client, tasks)

    living = sorted([*servers[3:5], *more, *late])
    eventually(lambda: hosts.running() == living, 30, "each runs once, the stopped ones do not")
    assert {client.server(one)["status"] for one in living} == {"ACTIVE"}
    assert {client.server(one)["status"] for one in servers[:3]} == {"SHUTOFF"}
    well(client, [client.delete(one) for one in [*servers[:5], *more, *late]])
    eventually(lambda: hosts.running() == [], 60, "nothing runs")


def kill_libvirtd(hosts: Fleet) -> None:
    """Kill n1's libvirtd with SIGKILL; bin/up's supervisor starts it again."""
    (found,) = [process for process in hosts.cloud.ours() if process.name() == "libvirtd"]
    found.send_signal(signal.SIGKILL)
