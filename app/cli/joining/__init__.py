"""A machine that joins a cloud as a hypervisor: what `novella host join` and its kin do."""
