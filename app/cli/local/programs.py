"""The processes of a local cloud, as supervisor's configuration."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import app
from app.broker_url import address
from app.cli.local.files import secret, write_private
from app.cli.local.place import Place
from app.config import Settings
from app.errors import Unavailable
from app.joining import is_loopback
from app.virt.libvirt.daemon import Daemon

_SYSTEM_PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


# They start in this order and stop in the reverse one.
ORDER = ("redis", "virtlogd", "libvirtd", "web", "scheduler", "host", "flower")


@dataclass(frozen=True)
class Program:
    """One supervised process. `stop_seconds` is its time to end before it is killed.

    `kill_group` kills its children with it; what libvirtd starts must outlive libvirtd.
    """

    name: str
    argv: Sequence[str]
    stop_seconds: int = 15
    kill_group: bool = True
    environ: Mapping[str, str] = field(default_factory=dict)


def programs(
    place: Place, settings: Settings, host: str, own_redis: bool, daemon: Daemon | None
) -> list[Program]:
    """All that this cloud needs, in the order of ORDER."""
    made = []
    if own_redis:
        made.append(_redis(place, settings))
    made += libvirt_programs(daemon)
    made += [
        Program("web", _python("gunicorn", "-c", "python:app.web.gunicorn", "app.web.wsgi")),
        Program("scheduler", _worker("scheduler,conductor"), stop_seconds=20),
        host_program(host),
        Program(
            "flower",
            _python(
                "app.cli.flower",
                "--address=127.0.0.1",
                f"--port={settings.flower_port}",
                "--read_only=True",
            ),
            environ={"FLOWER_BASIC_AUTH": f"novella:{secret(place, 'flower-password')}"},
        ),
    ]
    return made


def libvirt_programs(daemon: Daemon | None) -> list[Program]:
    """A libvirtd of our own, if there is to be one."""
    if daemon is None:
        return []
    return [
        Program("virtlogd", daemon.virtlogd, kill_group=False),
        Program("libvirtd", daemon.libvirtd, kill_group=False),
    ]


def host_program(host: str) -> Program:
    """The agent of the hypervisor `host`."""
    return Program("host", _worker(f"host-{host}"), stop_seconds=20)


def redis_addresses(bind: str) -> tuple[str, ...]:
    """Where our own Redis listens: for this machine, and where hosts that join reach the API."""
    if is_loopback(bind):
        return ("127.0.0.1",)
    return (bind,) if bind in ("0.0.0.0", "::") else ("127.0.0.1", bind)


def render(place: Place, wanted: Sequence[Program], foreground: bool = False) -> str:
    """supervisord's configuration for these programs.

    `foreground`: they start at once, and their logs are its own output, as containers want it.
    """
    limit = 4096
    sections = [
        "; Written by bin/up at each start; changes are lost.",
        _section("unix_http_server", file=place.supervisor_socket, chmod="0700"),
        _section(
            "supervisord",
            logfile="/dev/null" if foreground else place.logs / "supervisord.log",
            logfile_maxbytes="0" if foreground else "10MB",
            logfile_backups=3,
            pidfile=place.runtime / "supervisord.pid",
            childlogdir=place.logs,
            directory=place.state,
            identifier=place.identifier,
            umask="022",
            minfds=limit,
        ),
        _section(
            "rpcinterface:supervisor",
            **{"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
    ]
    for number, program in enumerate(wanted):
        sections.append(_program(place, number, program, foreground))
    return "\n".join(sections)


def environment(place: Place, environ: Mapping[str, str]) -> dict[str, str]:
    """What all processes inherit: their settings come from novella.toml alone."""
    kept = {
        k: v for k, v in environ.items() if not k.startswith(("NOVELLA_", "CELERY_", "FLOWER_"))
    }
    root = str(Path(app.__file__).resolve().parents[1])
    others = [part for part in kept.get("PYTHONPATH", "").split(os.pathsep) if part]
    kept["PYTHONPATH"] = os.pathsep.join([root, *(part for part in others if part != root)])
    kept["PATH"] = os.pathsep.join(filter(None, (kept.get("PATH"), _SYSTEM_PATHS)))
    kept["PYTHONUNBUFFERED"] = "1"
    kept["NOVELLA_CONFIG"] = str(place.config)
    return kept


def _worker(queues: str) -> list[str]:
    return _python("celery", "-A", "app", "worker", "-E", "-Q", queues)


def _python(module: str, *args: str) -> list[str]:
    # -P: the state directory, where they run, is no place to import from.
    return [sys.executable, "-P", "-m", module, *args]


def _redis(place: Place, settings: Settings) -> Program:
    program = shutil.which("redis-server", path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATHS}")
    if program is None:
        raise Unavailable("redis-server is not installed: run bin/setup")
    is_broker = address(settings.broker_url).is_redis
    url = urlsplit(settings.broker_url if is_broker else settings.results)
    folder = place.state / "redis"
    folder.mkdir(exist_ok=True)
    lines = [
        "# Written by bin/up at each start; changes are lost. Nothing is kept on disk: the",
        "# database is the truth, and what a lost Redis held is sent again.",
        f"bind {' '.join(redis_addresses(settings.bind))}",
        "protected-mode yes",
        f"port {url.port}",
        f'requirepass "{url.password}"',
        "daemonize no",
        'save ""',
        "appendonly no",
        "maxmemory-policy noeviction",
        "tcp-backlog 128",
        f'dir "{folder}"',
    ]
    write_private(folder / "redis.conf", "\n".join(lines) + "\n")
    return Program("redis", [program, str(folder / "redis.conf")], stop_seconds=10)


def _program(place: Place, number: int, program: Program, foreground: bool) -> str:
    environ = ",".join(f"{key}={shlex.quote(value)}" for key, value in program.environ.items())
    return _section(
        f"program:{program.name}",
        command=shlex.join(["sh", str(_script(place, program))]),
        directory=place.state,
        environment=environ,
        priority=10 * (number + 1),
        autostart="true" if foreground else "false",
        autorestart="true",
        startsecs=5,
        startretries=1_000_000,
        stopsignal="TERM",
        stopwaitsecs=program.stop_seconds,
        stopasgroup="false",
        killasgroup="true" if program.kill_group else "false",
        redirect_stderr="true",
        stdout_logfile="/dev/fd/1" if foreground else place.logs / f"{program.name}.log",
        stdout_logfile_maxbytes="0" if foreground else "20MB",
        stdout_logfile_backups=5,
    )


def _script(place: Place, program: Program) -> Path:
    """A script that becomes the program: any argument survives there, lines and all."""
    folder = place.state / "run"
    folder.mkdir(exist_ok=True)
    # setpriv: should supervisord be killed, its processes end too, and bin/up finds a clean field.
    argv = ["setpriv", "--pdeathsig", "TERM", *program.argv]
    path = folder / f"{program.name}.sh"
    write_private(path, f"# Written by bin/up at each start.\nexec {shlex.join(argv)}\n")
    return path


def _section(name: str, **values: object) -> str:
    lines = [f"{key} = {str(value).replace('%', '%%')}" for key, value in values.items()]
    return "\n".join([f"[{name}]", *lines, ""])
