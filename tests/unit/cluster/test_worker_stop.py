"""What workers are told when the head stops, by a shell as on theirs."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from zejzl_ray.cluster import worker_stop
from zejzl_ray.cluster.launcher_config import LauncherConfig
from zejzl_ray.cluster.worker_stop import stop_command, stop_workers

_PYTHON = '#!/bin/sh\necho "$@ in ${ZEJZL_DATA_DIR-its own}"\n'


def _program(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(_PYTHON)
    path.chmod(0o755)
    return path


def _said(text: str) -> str:
    return subprocess.run(
        ("sh", "-c", text), capture_output=True, text=True, check=True, env={}
    ).stdout.strip()


def test_a_path_with_a_space_is_one_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = _program(tmp_path / "my venv" / "bin" / "python")
    monkeypatch.setattr(sys, "executable", str(program))

    assert _said(stop_command(tmp_path, {})) == "-m zejzl_ray.cli.main node stop in its own"


def test_a_worker_of_another_release_is_stopped_by_its_own_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(tmp_path / "the data" / "releases" / "current" / "venv" / "bin" / "python")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone" / "python"))

    said = _said(stop_command(tmp_path / "the data", {}))

    assert said == "-m zejzl_ray.cli.main node stop in its own"


def test_a_data_directory_that_was_set_is_said_where_the_worker_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(_program(tmp_path / "python" / "python")))
    there = tmp_path / "the data"
    there.mkdir()

    def told(path: Path) -> str:
        return _said(stop_command(path, {"ZEJZL_DATA_DIR": str(path)})).partition(" in ")[2]

    assert told(there) == str(there)
    assert told(tmp_path / "none") == "its own"


def test_a_worker_that_does_not_answer_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    third_is_told = threading.Event()

    def stop(argv: tuple[str, ...]) -> None:
        if argv[-2] == "10.0.0.4":
            third_is_told.set()
        assert third_is_told.wait(20)
        if argv[-2] == "10.0.0.2":
            raise subprocess.TimeoutExpired(argv, 40)

    monkeypatch.setattr(worker_stop, "stop_worker", stop)
    workers = ("10.0.0.2", "10.0.0.3", "10.0.0.4")

    stop_workers(LauncherConfig(head_ip="10.0.0.1", worker_ips=workers), Path("/data"), {})

    assert third_is_told.is_set()


def test_a_head_without_workers_tells_nobody() -> None:
    stop_workers(LauncherConfig(head_ip="10.0.0.1"), Path("/data"), {})
