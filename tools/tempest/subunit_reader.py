"""Reads a subunit v2 stream, prints a line for each test that ends, and writes all as JSON.

    stestr run --subunit | python subunit_reader.py RESULTS.json

Runs in Tempest's environment, which has python-subunit. RESULTS.json is a list of objects: `id` as
in the stream; `status`, which is success, fail, skip, xfail, uxsuccess, or inprogress when its
process died; `seconds`; `reason` of a skip; `traceback` of a failure.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import subunit
import testtools

_SHOWN = {"success": "ok", "fail": "FAILED", "skip": "skipped", "uxsuccess": "FAILED"}


def _plain(test: dict[str, Any]) -> dict[str, Any]:
    details = test["details"]
    began, ended = (*test["timestamps"], None, None)[:2]
    texts = {name: content.as_text() for name, content in details.items() if _is_text(content)}
    return {
        "id": test["id"],
        "status": test["status"],
        "seconds": (ended - began).total_seconds() if began and ended else 0.0,
        "reason": texts.get("reason", ""),
        "traceback": "\n".join(text for name, text in texts.items() if "traceback" in name),
    }


def _is_text(content: Any) -> bool:
    return bool(content.content_type.type == "text")


def main() -> int:
    """Exit status 0 always: who reads RESULTS.json judges."""
    found: list[dict[str, Any]] = []

    def ended(test: dict[str, Any]) -> None:
        if test["status"] == "exists" or test["id"] == "stdout":
            return  # announced only, or no test
        one = _plain(test)
        found.append(one)
        shown = _SHOWN.get(one["status"], one["status"])
        print(f"{len(found):4}  {shown:8} {one['seconds']:6.1f} s  {one['id']}", flush=True)

    stream = subunit.ByteStreamToStreamResult(sys.stdin.buffer, non_subunit_name="stdout")
    result = testtools.StreamToDict(ended)
    result.startTestRun()
    try:
        stream.run(result)
    finally:
        result.stopTestRun()
    Path(sys.argv[1]).write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
