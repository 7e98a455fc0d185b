import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from zejzl_ray.errors import AgentExists, FleetInvalid

FLEET = """schema: zejzl.fleet/1
machines:
  mainpc: {}
agents:
  Observer:
    machine: mainpc
    entry: observer.py
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "fleet.yaml").write_text(FLEET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_new_writes_an_agent_and_says_what_comes_next(here: Path, run: Callable[..., Result]) -> None:
    done = run("agent", "new", "DoorWatcher", "--machine", "mainpc")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == ["door_watcher.py", "test_door_watcher.py", "door_watcher.fleet.yaml"]
    assert "python -m pytest test_door_watcher.py" in done.stderr
    assert all((here / name).is_file() for name in done.stdout.splitlines())


def test_new_prints_json_and_makes_the_folder(here: Path, run: Callable[..., Result]) -> None:
    done = run("agent", "new", "DoorWatcher", "--dir", "agents", "--json")
    told = json.loads(done.stdout)
    assert (told["name"], told["entry"]) == ("DoorWatcher", "door_watcher:DoorWatcher")
    assert [Path(path).is_file() for path in told["files"]] == [True] * 3


def test_new_refuses_what_the_fleet_has_and_writes_nothing(here: Path, run: Callable[..., Result]) -> None:
    done = run("agent", "new", "Observer")
    assert isinstance(done.exception, AgentExists)
    assert [path.name for path in here.iterdir()] == ["config"]
    (here / "other.yaml").write_text("schema: zejzl.fleet/1\nmachines: 3\n")
    done = run("agent", "new", "Fresh", "--fleet", "other.yaml")
    assert isinstance(done.exception, FleetInvalid)
