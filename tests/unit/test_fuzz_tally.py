"""When a run of the fuzzer is good."""

from __future__ import annotations

from typing import Any

from tools.fuzz.tally import Tally, is_good, told


def answered(status: int, action: str = "", role: str = "member") -> dict[str, Any]:
    return {"operation": "POST /x", "action": action, "role": role, "status": status}


def tally(*statuses: int, declared: set[int] | None = None) -> Tally:
    made = Tally({"pause"})
    made.count(answered(202, "pause"), {202})
    for status in statuses:
        made.count(answered(status), {200, 400, 501} if declared is None else declared)
    return made


def test_a_run_with_documented_answers_of_which_enough_are_good_is_good() -> None:
    found = tally(200, 400, 400).summary()
    assert is_good(found)
    assert found["classes"] == {"2xx": 2, "4xx": 2}
    assert "actions reached     1 of 1" in told(found)


def test_a_server_error_an_undeclared_status_or_an_action_not_reached_makes_it_bad() -> None:
    assert not is_good(tally(500).summary())
    assert not is_good(tally(503, declared={200, 503}).summary())
    assert not is_good(tally(404).summary())
    assert not is_good(Tally({"pause"}).summary())


def test_too_few_good_answers_make_it_bad() -> None:
    assert not is_good(tally(400, 400, 400).summary())


def test_what_is_declared_not_to_be_implemented_is_no_server_error() -> None:
    assert tally(501).summary()["server_errors"] == []
    assert len(tally(501, declared={200}).summary()["server_errors"]) == 1
