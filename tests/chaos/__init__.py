"""Chaos: a whole cloud under random requests and random kills, judged at the end.

`bin/chaos` runs it; docs/chaos.md says what it does and what it counts.
"""
