"""Hypervisors: the driver contract, a fake, and libvirt. See `docs/virt.md`."""
