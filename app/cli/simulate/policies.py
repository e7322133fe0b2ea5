"""What `--policy` names: settings of the scheduler, in the settings' own syntax."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from app.config import Settings, load
from app.errors import Invalid
from app.scheduler.options import Options
from app.scheduler.policy import Policy
from app.tasks.control import placing

SETTINGS = ("filters", "weighers", "weight_multipliers", *(one.name for one in fields(Options)))
RATIOS = ("cpu_ratio", "ram_ratio", "disk_ratio", "reserved_ram_mb")
LIVE = "live"
PRESETS = {LIVE: "", "spread": "ram=1,cpu=1,disk=1", "pack": "ram=-1,cpu=-1,disk=-1"}
_LABEL = re.compile(r"([\w.-]{1,40}):(.+)", re.DOTALL)
_MULTIPLIERS = "weight_multipliers"


@dataclass(frozen=True)
class Named:
    """A policy under the name that tables and plots give it; `settings` are those it is made of."""

    label: str
    policy: Policy
    settings: dict[str, str]


def named(text: str, base: Mapping[str, str]) -> Named:
    """The policy of `[LABEL:]PART[;PART…]` over the settings `base`.

    A part is a preset, multipliers of weighers (`ram=-1,cpu=0`), or any of `SETTINGS` with its
    value. Raises Invalid with the part that is none of these.
    """
    match = _LABEL.fullmatch(text.strip())
    label, rest = (match[1], match[2]) if match else (text.strip(), text)
    given = dict(base)
    for part in filter(None, (one.strip() for one in rest.split(";"))):
        _add(given, part)
    try:
        return Named(label, placing.policy_of(_loaded(given)), given)
    except Invalid as error:
        raise Invalid(f"--policy {text}: {error.message}") from error


def present(settings: Settings) -> dict[str, str]:
    """The settings of the scheduler, as texts."""
    return {name: _text(getattr(settings, name)) for name in SETTINGS}


def _add(given: dict[str, str], part: str) -> None:
    name, equals, value = (one.strip() for one in part.partition("="))
    if name in SETTINGS and equals:
        given[name] = value
        return
    if not equals and name not in PRESETS:
        presets = ", ".join(PRESETS)
        raise Invalid(
            f"--policy: {part!r} is none of {presets}, no weigher=multiplier, and no setting "
            f"with a value: {', '.join(SETTINGS)}"
        )
    multipliers = part if equals else PRESETS[name]
    given[_MULTIPLIERS] = ",".join(filter(None, (given.get(_MULTIPLIERS), multipliers)))


def _loaded(given: Mapping[str, str]) -> Settings:
    names = {f"NOVELLA_{name.upper()}" for name in SETTINGS}
    others = {k: v for k, v in os.environ.items() if k.removesuffix("_FILE") not in names}
    return load(others | {f"NOVELLA_{name.upper()}": value for name, value in given.items()})


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
