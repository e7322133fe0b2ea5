"""Where a local cloud keeps things."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import app
from app.errors import Invalid
from app.joining import is_host_name

# Names that SQLAlchemy's URLs, supervisor's INI or redis' configuration would read as syntax.
_UNUSABLE = re.compile(r"[?#;\"\\\x00-\x1f]")


@dataclass(frozen=True)
class Place:
    """A state directory, which lives as long as the cloud, and one for sockets, which need not."""

    state: Path
    runtime: Path

    @property
    def config(self) -> Path:
        """The settings that every process of the cloud reads."""
        return self.state / "novella.toml"

    @property
    def clouds(self) -> Path:
        """Credentials for OpenStack's clients."""
        return self.state / "clouds.yaml"

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.state / "log"

    @property
    def secrets(self) -> Path:
        """Passwords, each in a file of mode 0600."""
        return self.state / "secrets"

    @property
    def supervisor_config(self) -> Path:
        """supervisord's configuration."""
        return self.state / "supervisord.conf"

    @property
    def supervisor_socket(self) -> Path:
        """supervisord's own socket."""
        return self.runtime / "supervisor.sock"

    @property
    def identifier(self) -> str:
        """A short name for this state directory, different for each."""
        return self.runtime.name

    def make(self) -> None:
        """Create both directories, private to this user. Raises Invalid when that cannot be."""
        self.make_state(self.logs)
        try:
            self.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.runtime.lstat()
        except OSError as error:
            raise Invalid(f"cannot make {self.runtime}: {error.strerror}") from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise Invalid(f"{self.runtime} belongs to somebody else: remove it, or ask them to")
        self.runtime.chmod(0o700)

    def make_state(self, *more: Path) -> None:
        """Create the state directory alone, and `more` in it. Raises Invalid."""
        self.require_owner()
        for folder in (self.state, self.secrets, *more):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise Invalid(f"cannot make {folder}: {error.strerror}") from error
        self.secrets.chmod(0o700)

    def require_owner(self) -> None:
        """Raises Invalid when the cloud here is somebody else's, whose sockets we cannot see."""
        if self.config.exists() and (owner := self.config.stat().st_uid) != os.geteuid():
            raise Invalid(f"the cloud in {self.state} belongs to user {owner}: run this as them")


def checkout() -> Path | None:
    """The checkout that this code runs from, or None for an installed wheel."""
    root = Path(app.__file__).resolve().parents[1]
    return root if (root / "pyproject.toml").is_file() else None


def default_state_dir(environ: Mapping[str, str]) -> Path | None:
    """NOVELLA_STATE_DIR, else `var` in the checkout, else nothing."""
    if given := environ.get("NOVELLA_STATE_DIR"):
        return Path(given).expanduser().absolute()
    root = checkout()
    return root / "var" if root else None


def find_place(environ: Mapping[str, str]) -> Place:
    """The place that the environment names. Raises Invalid for one that cannot work."""
    state = default_state_dir(environ)
    if state is None:
        raise Invalid("set NOVELLA_STATE_DIR: this is not a checkout, so there is no default")
    state = state.resolve()
    if odd := _UNUSABLE.search(str(state)):
        raise Invalid(f"state directory {state}: {odd.group()!r} cannot be in its name")
    return Place(state, _runtime_dir(environ, state))


def host_name(place: Place, environ: Mapping[str, str]) -> str:
    """This machine's name as a host: given once, then remembered. Raises Invalid."""
    kept = place.state / "host_name"
    known = kept.read_text().strip() if kept.exists() else ""
    given = environ.get("NOVELLA_HOST_NAME", "")
    if known and given and given != known:
        raise Invalid(f"this cloud's host is called {known}; unset NOVELLA_HOST_NAME={given}")
    name = known or given or re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).strip("-.")
    if not is_host_name(name):
        raise Invalid(f"NOVELLA_HOST_NAME: {name!r} is not made of letters, digits, '.', '-', '_'")
    if not known:
        kept.write_text(name + "\n")
    return name


def _runtime_dir(environ: Mapping[str, str], state: Path) -> Path:
    """Short, because Unix sockets' paths end at 108 bytes, and its own for each state dir."""
    if given := environ.get("NOVELLA_RUNTIME_DIR"):
        return Path(given).absolute()
    name = f"novella-{hashlib.sha256(os.fsencode(state)).hexdigest()[:8]}"
    if os.geteuid() == 0:
        return Path("/run") / name
    session = environ.get("XDG_RUNTIME_DIR", "")
    if session and len(session) < 50 and os.access(session, os.W_OK):
        return Path(session) / name
    return Path(environ.get("TMPDIR") or "/tmp") / f"{name}-{os.geteuid()}"
