"""Run by a Python that has nova: Nova's rules and their defaults, as JSON on standard output."""

from __future__ import annotations

import json
import sys

from nova import policies

if __name__ == "__main__":
    json.dump({rule.name: rule.check_str for rule in policies.list_rules()}, sys.stdout)
