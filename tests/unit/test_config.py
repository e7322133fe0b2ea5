"""Settings that come from files, and what follows from others."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.config import Settings, load
from app.errors import Invalid


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("redis://:pw@r/0\n")
    assert load({"NOVELLA_BROKER_URL_FILE": str(file)}).broker_url == "redis://:pw@r/0"
    (tmp_path / "port").write_text("99")
    assert load({"NOVELLA_PORT_FILE": str(tmp_path / "port")}).port == 99


def test_a_file_wins_over_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "novella.toml").write_text('region = "one"\n')
    (tmp_path / "region").write_text("two")
    config = {"NOVELLA_CONFIG": str(tmp_path / "novella.toml")}
    assert load(config | {"NOVELLA_REGION_FILE": str(tmp_path / "region")}).region == "two"


def test_a_setting_given_twice_or_in_no_file_is_named(tmp_path: Path) -> None:
    both = {"NOVELLA_REGION": "one", "NOVELLA_REGION_FILE": str(tmp_path)}
    with pytest.raises(Invalid, match="NOVELLA_REGION and NOVELLA_REGION_FILE are both set"):
        load(both)
    with pytest.raises(Invalid, match="NOVELLA_REGION_FILE .*missing: .*No such file"):
        load({"NOVELLA_REGION_FILE": str(tmp_path / "missing")})


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        (Settings(), "http://127.0.0.1:8774"),
        (Settings(bind="0.0.0.0", port=1), "http://127.0.0.1:1"),
        (Settings(bind="fd00::1"), "http://[fd00::1]:8774"),
        (Settings(public_url="https://x/"), "http://127.0.0.1:8774"),
        (Settings(tls_certificate=Path("c")), "https://127.0.0.1:8774"),
        (Settings(tls_certificate=Path("c"), public_url="https://x/"), "https://x"),
    ],
)
def test_where_this_machine_reaches_the_api(settings: Settings, url: str) -> None:
    assert settings.api_url == url
