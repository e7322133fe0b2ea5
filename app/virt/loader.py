"""Load a driver by its dotted name, so that nothing imports libvirt which does not need it."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from app.config import Settings
from app.errors import Invalid
from app.virt.driver import Driver


def load_driver(settings: Settings, host_name: str, cloud_id: str) -> Driver:
    """The driver that `settings.driver` ("module:Class") names, constructed but not opened.

    Raises Invalid when the module or class is not there.
    """
    module_name, colon, class_name = settings.driver.partition(":")
    if not colon or not module_name or not class_name:
        raise Invalid(f"setting driver: {settings.driver!r} is not module:Class")
    try:
        factory = getattr(import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise Invalid(f"setting driver: cannot load {settings.driver!r}: {error}") from error
    return cast(Driver, factory(host_name, cloud_id, settings))
