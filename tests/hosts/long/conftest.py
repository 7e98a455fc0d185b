"""What the tests of this folder share."""

import sys
from collections.abc import Callable

import pytest

Show = Callable[[str], None]


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Show:
    """Write a line whatever pytest does with output."""

    def write(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {line}")

    return write
