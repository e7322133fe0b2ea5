"""What is made of Tempest's outcomes, and of the cloud's features."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.tempest import features, results
from tools.tempest.__main__ import update
from tools.tempest.suite import end

CLASS = "tempest.api.compute.test_a.B"
TESTS = [f"{CLASS}.{name}[id-1,smoke]" for name in ("test_one", "test_two")]


def ended(test: str, status: str, **more: str) -> dict[str, object]:
    return {"id": test, "status": status, "seconds": 1.0, "reason": "", "traceback": ""} | more


def test_a_class_that_skips_skips_each_of_its_tests() -> None:
    found = results.outcomes(TESTS, [ended(f"setUpClass ({CLASS})", "skip", reason="no X")])
    assert [(one.name, one.status, one.text) for one in found] == [
        (f"{CLASS}.test_one", "skipped", "no X"),
        (f"{CLASS}.test_two", "skipped", "no X"),
    ]
    assert "| 2 | no X |" in results.skips(found)


def test_a_class_whose_setup_fails_fails_each_of_its_tests() -> None:
    found = results.outcomes(TESTS, [ended(f"setUpClass ({CLASS})", "fail", traceback="T")])
    assert {one.status for one in found} == {"failed"}


def test_a_test_that_never_ended_has_failed() -> None:
    found = results.outcomes(TESTS, [ended(TESTS[0], "success"), ended(TESTS[1], "inprogress")])
    assert [one.status for one in found] == ["passed", "failed"]
    found = results.outcomes(TESTS, [ended(TESTS[0], "success")])
    assert [one.status for one in found] == ["passed", "failed"]


def test_a_clean_up_that_fails_counts_beside_the_tests() -> None:
    passed = [ended(test, "success") for test in TESTS]
    found = results.outcomes(TESTS, [*passed, ended(f"tearDownClass ({CLASS})", "fail")])
    assert results.summary(found, ())["failed"] == 1
    assert "| api.compute.test_a | 2 | 1 |  |" in results.table(found)


def test_only_what_was_to_run_now_can_be_lost() -> None:
    found = results.outcomes(TESTS, [ended(TESTS[0], "success"), ended(TESTS[1], "skip")])
    other, gone = "tempest.api.compute.other.C.test", f"{CLASS}.test_three"
    passing = [f"{CLASS}.test_one", f"{CLASS}.test_two", gone, other]
    assert results.lost(found, passing, r"test_a\.B", TESTS) == [gone, f"{CLASS}.test_two"]
    assert results.lost(found, passing, "smoke", TESTS) == [f"{CLASS}.test_two"]


def test_an_option_is_true_when_all_that_it_needs_is_there() -> None:
    routes = ["/compute/v2.1/servers/<server_id>/os-interface"]
    made = features.options({"pause"}, routes)
    assert (made["pause"], made["interface_attach"], made["resize"]) == ("false", "true", "false")
    assert features.options({"pause", "unpause"}, routes)["pause"] == "true"


def test_tests_without_an_option_are_left_out_until_their_feature_is_there() -> None:
    without, with_it = ({"shelve": value} for value in ("false", "true"))
    assert set(features.left_out(without)) == set(features.WITHOUT_OPTION)
    assert all("shelve" in reason for reason in features.left_out(without).values())
    assert features.left_out(with_it) == {}


@pytest.mark.parametrize(("real", "kept"), [(True, set()), (False, {"test_two"})])
def test_only_real_hosts_make_a_test_no_longer_pass(
    tmp_path: Path, real: bool, kept: set[str]
) -> None:
    page = tmp_path / "passing.txt"
    page.write_text(f"{CLASS}.test_two\n{CLASS}.test_zero\n")
    found = results.outcomes(TESTS, [ended(TESTS[0], "success"), ended(TESTS[1], "skip")])
    update(page, TESTS, found, real=real)
    now = {name.rpartition(".")[2] for name in page.read_text().split()}
    assert now == {"test_zero", "test_one"} | kept


def test_a_runner_that_ignores_its_end_is_killed() -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True)"
    argv = [sys.executable, "-c", f"{deaf}; signal.pause()"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"1\n"
        end(process, patience=0.2)
        assert process.returncode == -9
