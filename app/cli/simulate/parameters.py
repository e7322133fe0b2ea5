"""The kinds of values that the options take."""

from __future__ import annotations

import math
import re
from typing import Any

import click

from app.domain.resources import Resources
from app.scheduler.simulation_cloud import Kind

SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
MOST_HOSTS = 1_000_000
MOST = Resources(100_000, 1_000_000_000, 1_000_000_000)
"""The largest host or flavor: figures stay exact up to there."""
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)")
_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/([smhd]))?")
_SIZE = r"(\d{1,12}):(\d{1,12}):(\d{1,12})"
_KIND = re.compile(rf"(\d{{1,9}})x{_SIZE}")
_ADDED = re.compile(rf"(\d{{1,9}})(?:x{_SIZE})?")
_FLAVOR = re.compile(rf"([^:=,]{{1,255}})(?::{_SIZE})?(?:=(\d+(?:\.\d+)?))?")


class Duration(click.ParamType[float]):
    """Seconds, or a number with s, m, h, d or w."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        if isinstance(value, float):
            return value
        match = _DURATION.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no duration: a number with s, m, h, d or w", param, ctx)
        return float(match[1]) * SECONDS[match[2]]


class Moment(Duration):
    """A duration after the start, or `end`."""

    name = "duration|end"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        return math.inf if value == "end" else super().convert(value, param, ctx)


class Rate(click.ParamType[float]):
    """Servers a second, or by s, m, h or d: `300/h`."""

    name = "rate"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        if isinstance(value, float):
            return value
        match = _RATE.fullmatch(str(value).strip())
        if match is None or not float(match[1]):
            self.fail(f"{value!r} is no rate above 0: servers a second, or 300/h", param, ctx)
        return float(match[1]) / SECONDS[match[2] or "s"]


class HostKind(click.ParamType[Kind]):
    """`COUNTxVCPUS:RAM_MB:DISK_GB`."""

    name = "COUNTxVCPUS:RAM_MB:DISK_GB"

    def convert(self, value: Any, param: Any, ctx: Any) -> Kind:
        match = _KIND.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no {self.name}, such as 3x64:262144:4000", param, ctx)
        count, *size = (int(part) for part in match.groups())
        if not 1 <= count <= MOST_HOSTS:
            self.fail(f"{value!r}: there may be 1 to {MOST_HOSTS} hosts", param, ctx)
        return Kind(count, self._size(size, value, param, ctx))

    def _size(self, size: list[int], value: str, param: Any, ctx: Any) -> Resources:
        found = Resources(*size)
        if not found.vcpus or not found.ram_mb:
            self.fail(f"{value!r}: vCPUs and RAM must be above 0", param, ctx)
        if too_large(found):
            self.fail(f"{value!r}: at most {_told(MOST)}", param, ctx)
        return found


class AddedHosts(HostKind):
    """`COUNT` of the commonest kind, or with a size as a host kind has it."""

    name = "COUNT[xVCPUS:RAM_MB:DISK_GB]"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        match = _ADDED.fullmatch(str(value).strip())
        if match is None or not 1 <= int(match[1]) <= MOST_HOSTS:
            self.fail(
                f"{value!r} is no {self.name}, such as 20, from 1 to {MOST_HOSTS}", param, ctx
            )
        if match[2] is None:
            return int(match[1]), None
        kind = super().convert(value, param, ctx)
        return kind.count, kind.total


class FlavorMix(click.ParamType[Any]):
    """`NAME[:VCPUS:RAM_MB:DISK_GB][=WEIGHT]`, separated by commas."""

    name = "mix"

    def convert(
        self, value: Any, param: Any, ctx: Any
    ) -> list[tuple[str, Resources | None, float]]:
        found = []
        for part in (one.strip() for one in str(value).split(",")):
            match = _FLAVOR.fullmatch(part)
            if match is None:
                self.fail(
                    f"{part!r} is no NAME[:VCPUS:RAM_MB:DISK_GB][=WEIGHT], "
                    "such as m1.small=3 or big:16:65536:200",
                    param,
                    ctx,
                )
            size = (
                None if match[2] is None else Resources(*(int(one) for one in match.groups()[1:4]))
            )
            if size is not None and (size == Resources(0, 0, 0) or too_large(size)):
                self.fail(f"{part!r}: more than nothing, and at most {_told(MOST)}", param, ctx)
            found.append((match[1].strip(), size, float(match[5] or 1)))
        return found


def too_large(size: Resources) -> bool:
    """Whether it is more than `MOST` of anything."""
    return size.vcpus > MOST.vcpus or size.ram_mb > MOST.ram_mb or size.disk_gb > MOST.disk_gb


def _told(size: Resources) -> str:
    return f"{size.vcpus} vCPUs, {size.ram_mb} MiB, {size.disk_gb} GiB"
