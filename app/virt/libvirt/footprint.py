"""What libvirt's NAT networks leave on a machine beside bridges: firewall chains, IP forwarding.

`remember` notes how it was before our libvirtd ran, `restore` makes it so again, unless another
libvirtd runs by then: it makes its chains once, when it starts, and fails without them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_TABLES = {
    "filter": {
        "LIBVIRT_INP": "INPUT",
        "LIBVIRT_OUT": "OUTPUT",
        "LIBVIRT_FWO": "FORWARD",
        "LIBVIRT_FWI": "FORWARD",
        "LIBVIRT_FWX": "FORWARD",
    },
    "nat": {"LIBVIRT_PRT": "POSTROUTING"},
    "mangle": {"LIBVIRT_PRT": "POSTROUTING"},
}
_NETWORKERS = ("libvirtd", "virtnetworkd")
_SECONDS = 10


def remember(path: Path) -> None:
    """Write how it is now to `path`, once: a file that exists is kept."""
    if path.exists():
        return
    rules = {program: _rules(program, "filter") for program in ("iptables", "ip6tables")}
    data = {
        "ip_forward": _FORWARD.read_text().strip(),
        "chains": {program: "LIBVIRT_INP" in text for program, text in rules.items()},
    }
    path.write_text(json.dumps(data))


def restore(path: Path, netns: str = "") -> list[str]:
    """Remove libvirt's empty chains and forwarding if `path` says that neither was there.

    Returns what it did, in words. Does nothing in another network namespace, which goes as one.
    """
    if netns or not path.exists() or _libvirtd_runs():
        return []
    before = json.loads(path.read_text())
    did = []
    used = False
    for program, were_there in before["chains"].items():
        if any(_in_use(program, table) for table in _TABLES):
            used = True
        elif not were_there and "LIBVIRT_INP" in _rules(program, "filter"):
            _drop_chains(program)
            did.append(f"removed libvirt's empty {program} chains")
    if before["ip_forward"] == "0" and not used and _FORWARD.read_text().strip() == "1":
        _FORWARD.write_text("0")
        did.append("switched IP forwarding off again")
    return did


def _libvirtd_runs() -> bool:
    """Whether any libvirtd, in whatever mount namespace, uses our network namespace."""
    ours = Path("/proc/self/ns/net").readlink()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name = (entry / "comm").read_text().strip()
            if name in _NETWORKERS and (entry / "ns/net").readlink() == ours:
                return True
        except OSError:
            continue
    return False


def _in_use(program: str, table: str) -> bool:
    return any(line.startswith("-A LIBVIRT_") for line in _rules(program, table).splitlines())


def _rules(program: str, table: str) -> str:
    if shutil.which(program) is None:
        return ""
    return _run([program, "-w", "5", "-t", table, "-S"])


def _drop_chains(program: str) -> None:
    for table, chains in _TABLES.items():
        for chain, parent in chains.items():
            _run([program, "-w", "5", "-t", table, "-D", parent, "-j", chain])
            _run([program, "-w", "5", "-t", table, "-X", chain])


def _run(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, check=False)
    return done.stdout
