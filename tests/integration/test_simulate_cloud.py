"""A simulation that starts from a cloud's database, and leaves it as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.cli.simulate import snapshot
from app.domain.resources import Resources
from app.models import Host
from app.store.database import reading
from app.virt.fake import RAM_MB
from tests.asking import add_image, adopt, caller, forget_process_state
from tests.cloud import Cloud, running
from tests.http_client import Client

MEDIUM, RAM = "3", 4096


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Three hosts with two servers each, and room for two more each."""
    given = {"reserved_ram_mb": str(RAM_MB - 4 * RAM), "weight_multipliers": "io_ops=-5"}
    with running(Cloud(tmp_path, settings=given)) as cloud:
        adopt(cloud, monkeypatch)
        cloud.start_control()
        cloud.start_web()
        for name in ("n1", "n2", "n3"):
            cloud.start_host(name)
        cloud.hosts_up("n1", "n2", "n3")
        client = Client(f"http://127.0.0.1:{cloud.web_port}")
        image = add_image(cloud, caller(cloud).project_id)
        for task in [client.create(image, flavorRef=MEDIUM)[1] for _ in range(6)]:
            assert client.finished(task)["state"] == "succeeded"
        yield cloud


def simulate(*args: str) -> Result:
    result = CliRunner().invoke(main, ["simulate", *args])
    assert result.exit_code == 0, result.output
    return result


def figures(*args: str) -> dict[str, Any]:
    simulate(*args, "--json", "out.json")
    return dict(json.loads(Path("out.json").read_text())[0]["end"])


def test_what_if_asks_the_cloud_as_it_is(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = uses()
    Path("cloud.json").write_text(simulate("snapshot").output)
    taken = snapshot.read(Path("cloud.json"))
    assert [row.name for row in taken.hosts] == ["n1", "n2", "n3"]
    assert {one.spec.flavor_name for one in taken.residents} == {"m1.medium"}
    assert {one.spec.resources for one in taken.residents} == {Resources(2, RAM, 40)}
    assert sum(row.servers for row in taken.hosts) == 6
    assert taken.settings["weight_multipliers"] == "io_ops=-5"
    for start in (("--snapshot", "cloud.json"), ("--from-cloud",)):
        two_gone = ("--servers", "0", "--remove-hosts", "n1,n3")
        end = figures(*start, *two_gone)
        assert (end["moved"] + end["homeless"], end["hosts"]) == (6 - on(taken, "n2"), 1)
        assert end["servers"] == 4, "as many as the one that is left has room for"
        assert figures(*start, *two_gone, "--add-hosts", "2")["homeless"] == 0
    end = figures("--from-cloud", "--servers", "10", "--policy", "pack")
    assert (end["placed"], end["refused"]) == (6, 4), "the mix is that of the cloud's servers"
    assert uses() == before


def on(taken: snapshot.Snapshot, host: str) -> int:
    return sum(one.host == host for one in taken.residents)


def uses() -> dict[str, int]:
    with reading() as session:
        return {host.name: host.used_ram_mb for host in session.query(Host)}


def test_a_database_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty.sqlite"
    monkeypatch.setenv("NOVELLA_DATABASE_URL", f"sqlite:///{empty}")
    monkeypatch.setenv("NOVELLA_STATE_DIR", str(tmp_path))
    forget_process_state()
    result = CliRunner().invoke(main, ["simulate", "snapshot"])
    assert result.exit_code == 1
    assert f"sqlite:///{empty}: the schema is not the newest" in result.stderr
