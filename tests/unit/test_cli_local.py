"""What bin/up decides before it starts anything: places, ports, subnets, files, programs."""

from __future__ import annotations

import configparser
import os
import shlex
import socket
import stat
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml

from app.cli.local import cloud as local_cloud
from app.cli.local import files, ports, subnets
from app.cli.local.place import Place, find_place, host_name
from app.cli.local.programs import ORDER, Program, environment, programs, render
from app.config import Settings, load
from app.errors import Conflict, Invalid, Unavailable

FAKE = {"NOVELLA_DRIVER": "app.virt.fake:FakeDriver"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "a state 100% mine", tmp_path / "run")
    made.make()
    return made


@pytest.fixture(autouse=True)
def _redis_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **kwargs: f"/usr/bin/{name}")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_each_state_directory_has_its_own_short_runtime_directory(tmp_path):
    one = find_place({"NOVELLA_STATE_DIR": str(tmp_path / "one")})
    two = find_place({"NOVELLA_STATE_DIR": str(tmp_path / "two")})
    assert one.runtime != two.runtime
    assert one == find_place({"NOVELLA_STATE_DIR": str(tmp_path / "x" / ".." / "one")})
    deep = find_place({"NOVELLA_STATE_DIR": "/" + "very-long-name/" * 15})
    assert len(os.fsencode(deep.runtime / "libvirt" / "libvirt-admin-sock")) < 108


@pytest.mark.parametrize("name", ["a;b", "a?b", "a#b", 'a"b', "a\nb"])
def test_a_state_directory_that_cannot_work_is_refused(tmp_path, name):
    with pytest.raises(Invalid, match="cannot be in its name"):
        find_place({"NOVELLA_STATE_DIR": str(tmp_path / name)})


def test_directories_are_private(place):
    assert mode(place.state) == mode(place.secrets) == mode(place.runtime) == 0o700


def test_a_runtime_directory_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "target")
    with pytest.raises(Invalid, match="cannot make|somebody else"):
        Place(tmp_path / "state", tmp_path / "run").make()


def test_the_host_name_is_remembered(place):
    assert host_name(place, {"NOVELLA_HOST_NAME": "n1"}) == "n1"
    assert host_name(place, {}) == "n1"
    with pytest.raises(Invalid, match="called n1"):
        host_name(place, {"NOVELLA_HOST_NAME": "n2"})


def test_a_host_name_that_no_queue_can_have(place):
    with pytest.raises(Invalid, match="NOVELLA_HOST_NAME"):
        host_name(place, {"NOVELLA_HOST_NAME": "n 1"})


def test_subnets_differ_by_cloud_and_avoid_what_is_used():
    first = subnets.choose("cloud-a", [])
    assert first == subnets.choose("cloud-a", [])
    assert first != subnets.choose("cloud-b", [])
    assert first.prefixlen == 20
    assert first.subnet_of(IPv4Network("10.0.0.0/8"))
    second = subnets.choose("cloud-a", [IPv4Network(f"{first[77]}/32")])
    assert not second.overlaps(first)


def test_subnets_leave_a_block_that_a_route_covers():
    office = [IPv4Network("10.0.0.0/8")]
    assert subnets.choose("c", office).subnet_of(IPv4Network("172.16.0.0/12"))
    office += [IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16")]
    with pytest.raises(Conflict, match="NOVELLA_NETWORK_CIDR"):
        subnets.choose("c", office)


def test_a_taken_port_is_named_with_its_holder(tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert not ports.is_free("127.0.0.1", port)
        with pytest.raises(Conflict, match=rf"port {port} .* process {os.getpid()} .*NOVELLA_PORT"):
            ports.require_free("127.0.0.1", port, "NOVELLA_PORT", tmp_path / "novella.toml")


def test_a_port_that_is_kept_is_one_that_no_client_is_given():
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    if first - ports.LOWEST < 1000:
        pytest.skip("clients get them all")
    for _ in range(20):
        port = ports.free_port()
        assert ports.LOWEST <= port < first
        assert ports.is_free("127.0.0.1", port)


def test_secrets_are_made_once_and_private(place):
    first = files.secret(place, "redis-password")
    assert len(first) >= 32
    assert files.secret(place, "redis-password") == first
    assert files.secret(place, "flower-password") != first
    assert mode(place.secrets / "redis-password") == 0o600


def test_settings_come_back_as_they_were_written(place):
    values = {"state_dir": 'with "quotes" and ünicode', "port": 8774, "chain": True, "ram_ratio": 1}
    files.write_settings(place, values)
    assert files.read_settings(place) == values
    assert mode(place.config) == 0o600
    before = place.config.stat().st_mtime_ns
    files.write_settings(place, values)
    assert place.config.stat().st_mtime_ns == before


def test_clouds_yaml_has_the_tenant_and_the_operator(place):
    files.write_clouds(place, Settings())
    clouds = yaml.safe_load(place.clouds.read_text())["clouds"]
    assert set(clouds) == {"novella", "novella-admin"}
    assert clouds["novella"]["auth"]["auth_url"] == "http://127.0.0.1:8774/identity"
    assert clouds["novella-admin"]["auth"]["username"] == "admin"
    assert mode(place.clouds) == 0o600


def test_clouds_yaml_keeps_a_changed_password_and_follows_the_port(place):
    files.write_clouds(place, Settings())
    text = place.clouds.read_text()
    password = files.secret(place, "novella-password")
    place.clouds.write_text(text.replace(password, "changed") + "  mine: {auth: {}}\n")
    files.write_clouds(place, Settings(port=9000))
    clouds = yaml.safe_load(place.clouds.read_text())["clouds"]
    assert clouds["novella"]["auth"]["password"] == "changed"
    assert clouds["novella"]["auth"]["auth_url"] == "http://127.0.0.1:9000/identity"
    assert clouds["mine"] == {"auth": {}}
    assert mode(place.clouds) == 0o600


def test_what_the_environment_gives_is_kept(place):
    environ = {**FAKE, "NOVELLA_PORT": "18000", "NOVELLA_HOST_NAME": "n1"}
    first = local_cloud.settle(place, environ, running=False)
    again = local_cloud.settle(place, {}, running=False)
    assert first.settings == again.settings
    assert (again.settings.port, again.host) == (18000, "n1")
    assert again.settings.state_dir == place.state
    assert load({"NOVELLA_CONFIG": str(place.config)}) == again.settings


def test_a_running_cloud_is_not_changed_under_its_feet(place):
    local_cloud.settle(place, {**FAKE, "NOVELLA_PORT": "18000"}, running=False)
    local_cloud.settle(place, {**FAKE, "NOVELLA_PORT": "18000"}, running=True)
    with pytest.raises(Conflict, match="up with port = 18000: run bin/down"):
        local_cloud.settle(place, {"NOVELLA_PORT": "18001"}, running=True)


def test_beside_a_rabbitmq_our_own_redis_keeps_the_results(place):
    given = {**FAKE, "NOVELLA_BROKER_URL": "amqp://novella:pw@mq//"}
    for environ in (given, FAKE):  # what was given is kept for later starts
        made = local_cloud.settle(place, environ, running=False)
        assert made.settings.broker_url == "amqp://novella:pw@mq//"
        assert made.settings.results.startswith("redis://:")
        port = made.settings.results.rpartition(":")[2].partition("/")[0]
        assert f"port {port}\n" in (place.state / "redis" / "redis.conf").read_text()
        assert "redis" in [program.name for program in made.programs]
    elsewhere = {**given, "NOVELLA_RESULT_URL": "redis://elsewhere:6379/0"}
    made = local_cloud.settle(place, elsewhere, running=False)
    assert made.settings.results == "redis://elsewhere:6379/0"
    assert "redis" not in [program.name for program in made.programs]


def test_a_redis_port_that_was_taken_meanwhile_is_changed(place):
    first = local_cloud.settle(place, FAKE, running=False)
    port = int(first.settings.broker_url.rpartition(":")[2].partition("/")[0])
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", port))
        assert local_cloud.settle(place, {}, running=True).settings == first.settings
        second = local_cloud.settle(place, {}, running=False)
    assert second.settings.broker_url != first.settings.broker_url
    assert second.settings.cloud_id == first.settings.cloud_id


def test_a_broker_of_ones_own_is_not_supervised(place):
    given = {**FAKE, "NOVELLA_BROKER_URL": "redis://elsewhere:6379/3"}
    for environ in (given, {}):
        made = local_cloud.settle(place, environ, running=False)
        assert made.settings.broker_url == "redis://elsewhere:6379/3"
        assert [program.name for program in made.programs] == ["web", "scheduler", "host", "flower"]


def test_without_root_the_error_says_what_needs_it(place, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Invalid, match="needs root"):
        local_cloud.settle(place, {}, running=False)
    assert not place.config.exists()


def test_a_wrong_setting_is_named(place):
    with pytest.raises(Invalid, match="setting port"):
        local_cloud.settle(place, {**FAKE, "NOVELLA_PORT": "many"}, running=False)


@pytest.fixture
def rendered(place: Place) -> configparser.ConfigParser:
    settings = Settings(broker_url="redis://:pw@127.0.0.1:16379/0", flower_port=15555)
    text = render(place, programs(place, settings, "n1", own_redis=True, daemon=None))
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";", "#"))
    parser.read_string(text)
    return parser


def test_every_program_is_restarted_and_logs_to_a_file_that_rotates(rendered, place):
    names = [name for name in rendered if name.startswith("program:")]
    assert names == [f"program:{name}" for name in ("redis", "web", "scheduler", "host", "flower")]
    for name in names:
        section = rendered[name]
        assert section["autorestart"] == "true"
        log = str(place.logs / f"{name.removeprefix('program:')}.log")
        assert section["stdout_logfile"].replace("%%", "%") == log
        assert section["stdout_logfile_maxbytes"] == "20MB"


def test_commands_survive_spaces_and_percent_signs(rendered, place):
    shell, script = shlex.split(rendered["program:redis"]["command"].replace("%%", "%"))
    assert (shell, script) == ("sh", str(place.state / "run" / "redis.sh"))
    command = shlex.split(Path(script).read_text().splitlines()[-1])
    assert command[:4] == ["exec", "setpriv", "--pdeathsig", "TERM"]
    assert command[-1] == str(place.state / "redis" / "redis.conf")


def test_any_argument_reaches_the_program(place):
    out = place.state / "out"
    odd = "two\nlines; $HOME 100% 'quoted' # not a comment"
    render(place, [Program("echo", ["sh", "-c", 'printf %s "$1" > "$2"', "sh", odd, str(out)])])
    subprocess.run(["sh", place.state / "run" / "echo.sh"], check=True, timeout=10)
    assert out.read_text() == odd


def test_no_password_on_a_command_line(rendered, place):
    password = files.secret(place, "flower-password")
    for script in (place.state / "run").iterdir():
        assert password not in script.read_text()
        assert ":pw@" not in script.read_text()
    assert password in rendered["program:flower"]["environment"]


def test_killing_libvirtd_spares_what_it_started(place):
    text = render(place, [Program("libvirtd", ["libvirtd"], kill_group=False)])
    assert "killasgroup = false" in text
    assert "stopasgroup = false" in text


def test_redis_without_disk_or_open_door(place):
    settings = Settings(broker_url="redis://:pw@127.0.0.1:16379/0")
    programs(place, settings, "n1", own_redis=True, daemon=None)
    config = (place.state / "redis" / "redis.conf").read_text()
    for line in ("bind 127.0.0.1", "port 16379", 'requirepass "pw"', "appendonly no", 'save ""'):
        assert line in config.splitlines()
    assert mode(place.state / "redis" / "redis.conf") == 0o600


def test_a_missing_redis_is_named(place, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *args, **kwargs: None)
    settings = Settings(broker_url="redis://:pw@127.0.0.1:16379/0")
    with pytest.raises(Unavailable, match="redis-server is not installed"):
        programs(place, settings, "n1", own_redis=True, daemon=None)


def test_processes_read_their_settings_from_the_file_alone(place):
    made = environment(
        place, {"NOVELLA_PORT": "1", "PATH": "/bin", "LANG": "C", "PYTHONPATH": "/x"}
    )
    assert made["NOVELLA_CONFIG"] == str(place.config)
    assert "NOVELLA_PORT" not in made
    assert made["LANG"] == "C"
    assert "/usr/sbin" in made["PATH"].split(":")
    assert made["PYTHONPATH"].endswith(":/x")


def test_the_order_has_every_program():
    assert ORDER == ("redis", "virtlogd", "libvirtd", "web", "scheduler", "host", "flower")
