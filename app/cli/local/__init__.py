"""A whole cloud on this machine: what `bin/up` and `bin/down` do."""
