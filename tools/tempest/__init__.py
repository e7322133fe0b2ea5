"""OpenStack's own integration suite against a cloud of ours: see docs/tempest.md."""
