"""``zejzl doors``: the list, what is open now, and the exit code."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from zejzl_ray.cli import doors
from zejzl_ray.cli.main import app
from zejzl_ray.cluster.doors import DOORS
from zejzl_ray.cluster.listeners import Listener, ProcessKind, Transport
from zejzl_ray.cluster.record import ClusterRecord
from zejzl_ray.settings import Settings

INGRESS = Listener(11, ProcessKind.PROXY, "haproxy", Transport.TCP, "127.0.0.1", 7100)
STRANGER = Listener(12, ProcessKind.OTHER, "nc [-l] 4444", Transport.TCP, "0.0.0.0", 4444)


def record(**changes: Any) -> ClusterRecord:
    values = {
        "cluster_id": "c",
        "temp_dir": Path("/t"),
        "address": "127.0.0.1:6379",
        "dashboard_url": "http://127.0.0.1:8265",
        "http_url": "http://127.0.0.1:7100",
        "bind_host": "127.0.0.1",
        "namespace": "zejzl",
        "machines": ("mainpc",),
    }
    return ClusterRecord.model_validate(values | changes)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path))

    def run(*arguments: str, found: tuple[Listener, ...] = (), at: ClusterRecord | None = None) -> Result:
        if at is not None:
            at.write(tmp_path)
        monkeypatch.setattr(doors, "find_listeners", lambda processes: found)
        return CliRunner().invoke(app, ["doors", *arguments])

    return run


def test_the_list_is_shown_also_when_nothing_runs(run: Any) -> None:
    result = run()
    assert result.exit_code == 0
    assert "fallback proxy" in result.stdout
    assert "none is open" in result.stdout


def test_what_is_open_is_shown_with_its_door_and_process(run: Any) -> None:
    result = run(found=(INGRESS,), at=record())
    assert result.exit_code == 0
    assert "127.0.0.1:7100" in result.stdout
    assert "NOT ON THE LIST" not in result.stdout


def test_what_is_not_on_the_list_is_said_first_and_fails(run: Any) -> None:
    result = run(found=(INGRESS, STRANGER), at=record())
    assert result.exit_code == 1
    now = result.stdout.partition("open now")[2]
    assert now.index("NOT ON THE LIST") < now.index("127.0.0.1:7100")
    assert "0.0.0.0:4444" in now
    assert "nc [-l] 4444" in now
    assert "1 of what listens is not on the list" in result.stderr


def test_a_door_that_is_wider_than_the_running_system_was_told_fails(run: Any) -> None:
    outer = Listener(11, ProcessKind.PROXY, "haproxy", Transport.TCP, "192.0.2.2", 7100)
    assert run(found=(outer,), at=record()).exit_code == 1
    assert run(found=(outer,), at=record(bind_host="192.0.2.2")).exit_code == 0


def test_json_has_the_list_and_what_is_open(run: Any) -> None:
    result = run("--json", found=(INGRESS, STRANGER), at=record())
    assert result.exit_code == 1
    shown = json.loads(result.stdout)
    assert [door["name"] for door in shown["doors"]] == [door.name for door in DOORS]
    assert shown["unlisted"] == 1
    assert [one["door"] for one in shown["open"]] == ["ingress", None]
    assert shown["open"][1]["reach"] == "all interfaces"
    assert shown["open"][1]["pid"] == 12


def test_without_a_record_the_settings_count() -> None:
    setup = doors.setup_of(Settings(bind_host="192.0.2.2"), None)
    assert setup.bind_host == "192.0.2.2"
    assert setup.is_one_machine


def test_between_machines_rays_doors_may_be_wide() -> None:
    assert doors.setup_of(Settings(), record()).is_one_machine
    assert not doors.setup_of(Settings(), record(address="192.0.2.2:6379")).is_one_machine
