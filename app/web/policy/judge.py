"""Who answers whether a caller may: oslo.policy, with the operator's file over the defaults."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_policy import policy as oslo_policy

from app import logs
from app.config import Settings
from app.errors import Bug, Invalid
from app.web.policy import overrides

FILE = "policy.yaml"
REMEMBERED = 10_000
"""Verdicts that one process remembers: asking oslo.policy anew costs a tenth of a request."""
LONGEST = 1024
"""Characters of what was asked that are remembered: callers choose the ids in it."""
Fingerprint = tuple[int, int, int] | None


class _Rules:
    """One state of the rules, with what they said; all checks compare the arguments and no more."""

    def __init__(self, checks: Mapping[str, str]) -> None:
        self._enforcer = enforcer(checks)
        self._told: dict[Any, bool] = {}

    def allow(self, rule: str, target: Mapping[str, Any], credentials: Mapping[str, Any]) -> bool:
        """Whether the rule's check holds."""
        # As texts, which is what checks compare: they are told apart where == would not, as 1 is
        # from True, and packages may ask about values that have no hash.
        asked = (rule, repr(sorted(target.items())), repr(sorted(credentials.items())))
        told = self._told.get(asked)
        if told is None:
            told = bool(self._enforcer.enforce(rule, dict(target), dict(credentials)))
            if sum(map(len, asked)) <= LONGEST:
                if len(self._told) >= REMEMBERED:
                    self._told = {}
                self._told[asked] = told
        return told


def enforcer(checks: Mapping[str, str]) -> oslo_policy.Enforcer:
    """An enforcer of exactly these rules; it reads no files."""
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    made = oslo_policy.Enforcer(conf, use_conf=False)
    made.set_rules(oslo_policy.Rules.from_dict(dict(checks)), use_conf=False)
    return made


class Judge:
    """The rules in force: `defaults`, and what the policy file says otherwise.

    The file is looked at when `refresh` is called, which costs one stat. One that has become wrong,
    or has gone, changes nothing but the log: a slip must neither open the cloud nor close it.
    """

    def __init__(self, defaults: Mapping[str, str], path: Path, required: bool = False) -> None:
        """Raises Invalid, with the rule's name, for a wrong file, or a missing `required` one."""
        self.defaults = dict(defaults)
        self._path = path
        self._lock = threading.Lock()
        self._seen = self._fingerprint()
        self.overridden: dict[str, str] = {}
        if required or self._seen is not None:
            self.overridden = overrides.read(path, self.defaults)
        self._rules = _Rules(self.checks)

    @classmethod
    def of(cls, settings: Settings, defaults: Mapping[str, str]) -> Judge:
        """By the setting `policy_file`, or the state directory's `policy.yaml` if there is one."""
        given = settings.policy_file
        return cls(defaults, given or settings.path(FILE), required=given is not None)

    @property
    def checks(self) -> dict[str, str]:
        """Every rule's check as it is in force, helpers of the operator's included."""
        return {**self.defaults, **self.overridden}

    def allows(self, rule: str, target: Mapping[str, Any], credentials: Mapping[str, Any]) -> bool:
        """Whether who has the credentials may do to the target what `rule` guards.

        Raises Bug for a rule that nobody registered.
        """
        if rule not in self.defaults:
            raise Bug(f"no policy rule {rule}")
        return self._rules.allow(rule, target, credentials)

    def refresh(self) -> None:
        """Follow the file, if it has changed since it was last looked at."""
        if self._fingerprint() == self._seen:
            return
        with self._lock:
            now = self._fingerprint()
            if now == self._seen:
                return
            self._seen = now
            try:
                changed = overrides.read(self._path, self.defaults)
            except Invalid as error:
                logs.get(__name__).error("policy kept as it was", error=error.message)
                return
            self._rules = _Rules({**self.defaults, **changed})
            self.overridden = changed
            logs.get(__name__).info("policy read again", file=str(self._path), rules=len(changed))

    def _fingerprint(self) -> Fingerprint:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
