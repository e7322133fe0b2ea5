"""Schemathesis against a cloud of ours, from our own OpenAPI document: see docs/api.md."""
