"""Benchmarks: run by hand with bin/bench, never by the tests."""
