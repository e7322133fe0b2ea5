"""The cloud that workers die in, one for each file of walks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stepping import Walk, open_walk
from tests.integration.virt_fixtures import OwnLibvirtd


@pytest.fixture(scope="module")
def walk(
    tmp_path_factory: pytest.TempPathFactory, own_libvirtd: OwnLibvirtd, blank_image: Path
) -> Iterator[Walk]:
    """A cloud on libvirt's test driver."""
    with pytest.MonkeyPatch.context() as patch:
        yield from open_walk(tmp_path_factory.mktemp("walk"), own_libvirtd, blank_image, patch)
