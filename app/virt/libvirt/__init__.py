"""The libvirt driver. Its modules need libvirt-python, but for `daemon` and `footprint`."""
