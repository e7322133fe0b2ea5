"""The libvirt driver; importing it needs libvirt-python."""
