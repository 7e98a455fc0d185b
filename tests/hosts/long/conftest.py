"""What the tests of this folder share."""

import sys
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

Show = Callable[[str], None]


class Stage(Protocol):
    """What the fixture ``stage`` of a file gives."""

    def logs(self) -> str:
        """Return what there is to read after a failure."""


@pytest.fixture(autouse=True)
def _logs_of_a_failure(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    stage: Stage | None = request.getfixturevalue("stage") if "stage" in request.fixturenames else None
    failures = request.session.testsfailed
    yield
    if stage is not None and request.session.testsfailed > failures:
        with capsys.disabled():
            sys.stdout.write(stage.logs())


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Show:
    """Write a line whatever pytest does with output."""

    def write(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {line}")

    return write
