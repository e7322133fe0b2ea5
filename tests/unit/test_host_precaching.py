"""A host answers how fetching an image ahead of builds went, whatever went wrong."""

from __future__ import annotations

import threading
from dataclasses import asdict
from pathlib import Path

import pytest

from app.config import Settings
from app.domain.message import ImageSource
from app.errors import Cancelled
from app.tasks.host.precaching import Precaching
from app.virt.driver import Report
from app.virt.fake import FakeDriver

IMAGE = ImageSource("i", "http://nowhere/image", "t", 4096, "sha512", "0" * 128, "qcow2")


class Odd(FakeDriver):
    """One that ends with something that nobody thought of."""

    ends_with: Exception

    def cache_image(self, image: ImageSource, cancel: threading.Event, report: Report) -> None:
        report(40, "half done")
        raise self.ends_with


def odd(folder: Path, ends_with: Exception) -> Precaching:
    driver = Odd("n1", "cloud", Settings(state_dir=folder))
    driver.ends_with = ends_with
    return Precaching(driver, threading.Event())


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), OSError("disk"), KeyError("a")])
def test_what_nobody_thought_of_is_answered_as_a_fault_that_is_tried_again(
    tmp_path: Path, error: Exception
) -> None:
    precaching = odd(tmp_path, error)
    for _ in range(3):
        fault = precaching.fetch({"id": "p", "image": asdict(IMAGE)})
        assert fault is not None
        assert (fault.code, fault.retriable) == ("bug", True)
        assert type(error).__name__ in fault.message
        assert precaching.percents() == {}


def test_what_was_cancelled_is_not_answered(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        odd(tmp_path, Cancelled("the worker ends")).fetch({"id": "p", "image": asdict(IMAGE)})


def test_a_message_without_an_image_is_answered(tmp_path: Path) -> None:
    faults = [
        odd(tmp_path, ValueError()).fetch({"id": "p"} | image) for image in ({}, {"image": 5})
    ]
    assert [fault.code for fault in faults if fault] == ["bug", "broken_message"]
