"""Whether the machine is on its way down, as systemd tells it."""

from pathlib import Path

import pytest

from zejzl_ray.cluster.shutting_down import is_machine_shutting_down


def _systemctl(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    path = folder / "systemctl"
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("program", "is_going_down"),
    [
        ("echo stopping; exit 1", True),
        ("echo running", False),
        ("echo degraded; exit 1", False),
        ("echo 'no bus' >&2; exit 1", False),
    ],
)
def test_systemd_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, is_going_down: bool
) -> None:
    _systemctl(tmp_path, monkeypatch, program)

    assert is_machine_shutting_down(tmp_path) is is_going_down


def test_where_systemd_does_not_run_the_machine_nobody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _systemctl(tmp_path, monkeypatch, "echo stopping")

    assert not is_machine_shutting_down(tmp_path / "absent")


def test_a_systemctl_that_cannot_be_run_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert not is_machine_shutting_down(tmp_path)
