"""Drive the stock `openstack` client through every command that Novella answers.

    OS_CLIENT_CONFIG_FILE=var/clouds.yaml python tools/client_tour --image var/tiny.qcow2

Each command runs with `-f json`; the keys of what it prints are compared with golden.json beside
this file (`--update` writes it anew). Exit status 0 when every command ended well and every key is
as expected. The client is the real one, called in forks of this process: its imports are paid once.
Whatever the tour makes, it deletes; names begin with the given prefix.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from chapters import CHAPTERS
from client import Client, Failed, preload

GOLDEN = Path(__file__).with_name("golden.json")


def differences(seen: dict[str, list[str]], golden: dict[str, list[str]]) -> list[str]:
    """What is missing, new or other, one line each."""
    lines = [f"{step}: not in golden.json" for step in seen if step not in golden]
    lines += [f"{step}: was not run" for step in golden if step not in seen]
    for step in seen.keys() & golden.keys():
        lost = sorted(set(golden[step]) - set(seen[step]))
        new = sorted(set(seen[step]) - set(golden[step]))
        if lost or new:
            lines.append(f"{step}: missing {lost}, unexpected {new}")
    return sorted(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cloud", default="novella", help="a member's cloud in clouds.yaml")
    parser.add_argument("--admin", default="novella-admin", help="the administrator's")
    parser.add_argument("--image", type=Path, required=True, help="a qcow2 that boots")
    parser.add_argument("--flavor", default="tiny", help="a flavor that the image fits")
    parser.add_argument("--prefix", default="tour")
    parser.add_argument("--update", action="store_true", help="write golden.json anew")
    given = parser.parse_args()
    os.environ.pop("OS_CLOUD", None)
    preload()
    with tempfile.TemporaryDirectory() as folder:
        client = Client(
            given.cloud, given.admin, given.prefix, given.flavor, given.image, Path(folder)
        )
        try:
            for chapter in CHAPTERS:
                chapter(client)
        except Failed as error:
            print(f"tour: {error}", file=sys.stderr)
            return 1
        finally:
            client.tidy()
    if given.update:
        GOLDEN.write_text(json.dumps(client.seen, indent=1, sort_keys=True) + "\n")
    wrong = differences(client.seen, json.loads(GOLDEN.read_text()))
    for line in wrong:
        print(f"tour: {line}", file=sys.stderr)
    print(
        f"tour: {client.count} commands, {len(client.seen)} with output, {len(wrong)} differences"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
