"""The operator's own rules: `policy.yaml`, read and proven before anything follows it.

oslo.policy takes what it does not understand for "nobody", and a name that it does not know for
one more rule; here both are refused, with the rule's name.
"""

from __future__ import annotations

import ast
import difflib
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from oslo_policy import _checks, _parser

from app.errors import Invalid
from app.web.policy import targets
from app.web.policy.targets import TARGETS

CREDENTIALS = ("user_id", "project_id", "tenant_id", "system_scope", "is_admin")
"""What a check may compare, besides roles: what is known of each caller."""
DEEPEST = 50
"""Checks within one another."""
_FORMATTED = re.compile(r"%%|%\([^)]*\)s")
# What PyYAML raises for a date without such a day, a number without digits and the like.
_NO_VALUE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
_KINDS = ("role", "rule", *CREDENTIALS)
# It would log a traceback for what is refused here in one line.
logging.getLogger("oslo_policy._parser").setLevel(logging.CRITICAL)


class _Strict(yaml.SafeLoader):
    """YAML in which a key is there once: of two rules of one name, which one holds?"""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = [key.value for key, _ in node.value]
        for name in seen:
            if seen.count(name) > 1:
                raise Invalid(f"the rule {name!r} is there twice")
        return super().construct_mapping(node, deep)


def read(path: Path, defaults: Mapping[str, str]) -> dict[str, str]:
    """The checks of the file at `path`, by rule.

    Raises Invalid, with the file's and the rule's name, when the file cannot be read, or holds
    anything else than checks, by the names of `defaults` or names that its other checks refer to.
    """
    try:
        return parsed(path.read_text(encoding="utf-8"), defaults)
    except OSError as error:
        raise Invalid(f"policy file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"policy file {path}: is no UTF-8: {error}") from error
    except Invalid as error:
        raise Invalid(f"policy file {path}: {error.message}") from error


def parsed(text: str, defaults: Mapping[str, str]) -> dict[str, str]:
    """The checks in the YAML `text`, by rule. Raises Invalid as `read` does."""
    try:
        # A SafeLoader makes nothing but plain values.
        given = yaml.load(text, Loader=_Strict)
    except yaml.YAMLError as error:
        raise Invalid(f"is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise Invalid("is nested too deep") from error
    except _NO_VALUE as error:
        raise Invalid(f"holds a value that is none of its kind: {error}") from error
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Invalid("must be a mapping from rules to checks")
    for name, check in given.items():
        if not isinstance(name, str) or not isinstance(check, str):
            raise Invalid(f"rule {name!r}: its check must be a text, in quotation marks")
        prove(name, check, {*defaults, *given})
    whole = {**defaults, **given}
    _refuse_unknown(given, defaults)
    for name in given:
        _refuse_circle(name, whole)
    _refuse_ungiven(whole, set(given))
    return given


def prove(name: str, check: str, known: set[str]) -> None:
    """Raise Invalid unless `check` is one, and refers only to `known` rules and credentials."""
    try:
        leaves = list(_leaves(_parser.parse_rule(check)))
    except RecursionError as error:
        raise Invalid(f"rule {name!r}: its check is nested too deep") from error
    nobody = re.sub(r"[()]", " ", check).split().count("!")
    if sum(isinstance(leaf, _checks.FalseCheck) for leaf in leaves) != nobody:
        raise Invalid(f"rule {name!r}: its check cannot be understood: {check!r}")
    for leaf in leaves:
        if not isinstance(leaf, _checks.Check):
            continue
        if leaf.kind == "rule" and leaf.match not in known:
            raise Invalid(f"rule {name!r} refers to {leaf.match!r}, which is no rule")
        if leaf.kind not in _KINDS and not _is_literal(leaf.kind):
            raise Invalid(
                f"rule {name!r}: {leaf} compares {leaf.kind!r}, which is none of "
                f"{', '.join(_KINDS)} and no literal"
            )
        if leaf.kind != "rule" and "%" in _FORMATTED.sub("", leaf.match):
            raise Invalid(
                f"rule {name!r}: {leaf} has a % that is neither %(TARGET)s nor %%, for one itself"
            )
        for target in _named(leaf):
            if target not in TARGETS:
                raise Invalid(
                    f"rule {name!r}: {leaf} is about {target!r}, which is none of "
                    f"{', '.join(TARGETS)}"
                )


def references(check: str) -> set[str]:
    """The names of the rules that `check` refers to."""
    leaves = _leaves(_parser.parse_rule(check))
    return {
        leaf.match for leaf in leaves if isinstance(leaf, _checks.Check) and leaf.kind == "rule"
    }


def _named(leaf: _checks.Check) -> list[str]:
    """The targets that a check compares with."""
    return re.findall(r"%\((.*?)\)s", leaf.match)


def _leaves(check: Any, depth: int = 0) -> Iterator[Any]:
    """What a check is made of. Raises RecursionError where oslo.policy might when it is asked."""
    if depth > DEEPEST:
        raise RecursionError
    if isinstance(check, _checks.AndCheck | _checks.OrCheck):
        for part in check.rules:
            yield from _leaves(part, depth + 1)
    elif isinstance(check, _checks.NotCheck):
        yield from _leaves(check.rule, depth + 1)
    else:
        yield check


def _is_literal(kind: str) -> bool:
    try:
        ast.literal_eval(kind)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


def _refuse_unknown(given: Mapping[str, str], defaults: Mapping[str, str]) -> None:
    """A name of the operator's own is one that others refer to; else it is a slip of the pen."""
    referred = {name for rule, check in given.items() for name in references(check) if name != rule}
    for name in given:
        if name in defaults or name in referred:
            continue
        near = difflib.get_close_matches(name, defaults, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise Invalid(f"there is no rule {name!r}, and no other refers to it{hint}")


def _refuse_circle(start: str, checks: Mapping[str, str]) -> None:
    reached = _reached(start, checks)
    if start in reached:
        raise Invalid(f"rule {start!r} refers to itself, by way of {reached[start]!r}")


def _reached(start: str, checks: Mapping[str, str]) -> dict[str, str]:
    """The rules that a rule refers to, itself or through others; each with one that names it."""
    found: dict[str, str] = {}
    ahead = [start]
    while ahead:
        name = ahead.pop()
        for referred in references(checks[name]) - set(found):
            found[referred] = name
            ahead.append(referred)
    return found


def _refuse_ungiven(checks: Mapping[str, str], changed: set[str]) -> None:
    """A rule that is asked, and of which something was changed, is about what its routes give."""
    for rule in checks:
        reached = {rule, *_reached(rule, checks)}
        if not changed & reached:
            continue
        for name in sorted(reached):
            for target in _compared(checks[name]) - targets.given(rule):
                way = "" if name == rule else f", by way of {name!r},"
                raise Invalid(
                    f"rule {rule!r}{way} is about {target!r}, which the requests that ask it do "
                    f"not tell; they tell {', '.join(sorted(targets.given(rule))) or 'none'}"
                )


def _compared(check: str) -> set[str]:
    leaves = _leaves(_parser.parse_rule(check))
    return {target for leaf in leaves if isinstance(leaf, _checks.Check) for target in _named(leaf)}
