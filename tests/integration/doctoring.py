"""A cloud for the doctor: two fake hosts, images with files, and the command in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import update

from app.cli.doctor import evidence, examination
from app.cli.doctor.commands import doctor
from app.models import Image
from app.tasks import board
from tests.asking import add_image, adopt, caller, create
from tests.cloud import Cloud, eventually, running

CONTENT = b"QFI\xfb" + bytes(1020)
"""What `add_image` makes its sums of."""


@contextmanager
def fleet(directory: Path, **settings: str) -> Iterator[Cloud]:
    """Two hosts that look at themselves every second, and a doctor who need not wait for long."""
    made = Cloud(directory, settings={"inventory_seconds": "1", **settings})
    with pytest.MonkeyPatch.context() as patch, running(made):
        adopt(made, patch)
        patch.setattr(evidence, "SLACK_SECONDS", 1.5)
        patch.setattr(examination, "SECOND_LOOK_SECONDS", 0.5)
        made.start_control()
        made.start_host("n1")
        made.start_host("n2")
        made.hosts_up("n1", "n2")
        eventually(board.controls, 10, "the scheduler worker says that it lives")
        yield made


def image_with_file(cloud: Cloud) -> str:
    """An active image whose file is in the image store."""
    image_id = add_image(cloud, caller(cloud).project_id)
    folder = cloud.directory / "images"
    folder.mkdir(exist_ok=True)
    (folder / image_id).write_bytes(CONTENT)
    with cloud.engine.begin() as connection:
        connection.execute(update(Image).where(Image.id == image_id).values(file_name=image_id))
    return image_id


def living(cloud: Cloud, image_id: str, **more: object) -> str:
    """A server that runs."""
    [(server_id, action_id)] = create(cloud, caller(cloud), image_id, **more)  # type: ignore[arg-type]
    assert cloud.finished(action_id).state == "succeeded"
    return server_id


def run(*options: str) -> tuple[int, dict[str, Any]]:
    """The doctor's exit code and what it says."""
    result = CliRunner().invoke(doctor, ["--json", *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, json.loads(result.stdout)


def wrong(said: dict[str, Any]) -> list[str]:
    """Whatever is wrong, a line each: code, subject and text."""
    return [
        f"{one['code']}: {one['subject']} {one['text']}"
        for one in said["findings"]
        if one["severity"] == "wrong"
    ]


def healthy() -> bool:
    """Whether nothing is wrong."""
    return run()[0] == 0


def until_healthy() -> None:
    """Wait until nothing is wrong."""
    said: list[str] = []

    def well() -> bool:
        code, document = run()
        said[:] = wrong(document)
        return code == 0

    try:
        eventually(well, 30)
    except AssertionError as error:
        raise AssertionError(f"still wrong: {said}") from error


def change_host(cloud: Cloud, host: str, change: Any) -> None:
    """Change what a fake hypervisor holds, behind everybody's back: `change` gets its JSON."""
    path = cloud.directory / f"hosts/{host}/fake.json"
    state = json.loads(path.read_text())
    change(state)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(state))
    draft.rename(path)
