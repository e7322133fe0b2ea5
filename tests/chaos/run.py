"""One run from beginning to end: start, ask and strike, wait, judge, clean up."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Project
from app.store import quotas
from tests.asking import add_image
from tests.chaos.clients import Caller, Client, Ledger
from tests.chaos.plan import Options, fingerprint
from tests.chaos.saboteur import Saboteur
from tests.chaos.verdict import Judge, Verdict
from tests.chaos.watcher import Watcher
from tests.chaos.world import World
from tests.cloud import CHECKOUT

GRACE_SECONDS = 90.0
Say = Callable[[str], None]


@dataclass
class Report:
    """What a run was and how it ended; `directory` is kept when it did not end well."""

    options: Options
    plan: str
    directory: Path
    verdict: Verdict = field(default_factory=Verdict)
    blows: Counter[str] = field(default_factory=Counter)
    exits: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    stolen: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether the run proves that nothing was lost: every blow fell, somebody looked."""
        return self.verdict.good and self.looks > 0 and not self.failures


def run(options: Options, say: Say, keep: bool = False) -> Report:
    """Make a cloud, drive it, strike it, judge it.

    Its directory is removed when all is well, unless it is to be kept.
    """
    report = Report(options, fingerprint(options), Path(tempfile.mkdtemp(prefix="nvc-")))
    say(f"seed {options.seed}, plan {report.plan}, in {report.directory}")
    with World(options, report.directory) as world:
        _drive(world, report, say)
    findings = report.verdict.findings + report.failures
    (report.directory / "findings.txt").write_text("\n".join(findings))
    if report.good and not keep:
        shutil.rmtree(report.directory)
    return report


def _drive(world: World, report: Report, say: Say) -> None:
    options, ledger = world.options, Ledger()
    image_id = _prepare(world, ledger)
    before = {host: world.fleet.listing(host) for host in world.hosts}
    watcher, saboteur = Watcher(world), Saboteur(world)
    clients = [
        Client(Caller(world.root, ledger), options, number, image_id)
        for number in range(options.clients)
    ]
    try:
        watcher.start()
        saboteur.start()
        for client in clients:
            client.start()
        _pass_time(options.seconds, ledger, say)
        for client in clients:
            client.stop()
        saboteur.finish(GRACE_SECONDS)
        deadline = time.monotonic() + GRACE_SECONDS
        for client in clients:
            client.join(max(0.0, deadline - time.monotonic()))
    finally:
        saboteur.stop()
    report.failures += saboteur.failed
    report.failures += [f"{client.name} has not ended" for client in clients if client.is_alive()]
    say("everything runs again; waiting for the ends")
    report.verdict = Judge(world, ledger, before).judge(watcher, saboteur.struck)
    report.blows.update(blow.kind for blow in saboteur.struck)
    report.exits, report.answers = world.exits, ledger.answers
    report.looks, report.stolen = watcher.looks, saboteur.stolen
    report.failures += watcher.failed


def _pass_time(seconds: float, ledger: Ledger, say: Say) -> None:
    begun = time.monotonic()
    while (left := begun + seconds - time.monotonic()) > 0:
        time.sleep(min(15.0, left))
        say(f"{time.monotonic() - begun:.0f} s: {len(ledger.promises)} accepted")


def _prepare(world: World, ledger: Ledger) -> str:
    """No quota in the way, and an image; its id."""
    with Session(world.cloud.engine) as session, session.begin():
        project = session.scalars(select(Project.id).where(Project.name == "novella")).one()
        quotas.set_limits(session, project, dict.fromkeys(quotas.COUNTED, -1))
    if not world.options.real:
        return add_image(world.cloud, project)
    from tests.http_client import Client as Plain

    path = CHECKOUT / "var/test/tiny.qcow2"
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([CHECKOUT / "bin/tiny-image", path], check=True, timeout=600)
    return Plain(world.root, "admin").upload(path, visibility="public")
