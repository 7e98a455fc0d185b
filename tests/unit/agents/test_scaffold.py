import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zejzl_ray.agents.factory import load_agent_class
from zejzl_ray.agents.scaffold import draft_agent, write_agent
from zejzl_ray.errors import AgentExists, Conflict, InvalidInput
from zejzl_ray.fleet.load import load_fleet
from zejzl_ray.fleet.model import AgentDeclaration, AgentKind, Fleet, MachineDeclaration, ServiceDeclaration

FLEET = Fleet(
    machines={"mainpc": MachineDeclaration(name="mainpc")},
    services={
        "error_bus": ServiceDeclaration(name="error_bus", home="mainpc", port=7003, aliases=("ErrorBus",))
    },
    agents={"Observer": AgentDeclaration(name="Observer")},
)


@pytest.mark.parametrize(
    ("name", "module", "class_name"),
    [
        ("DoorWatcher", "door_watcher", "DoorWatcher"),
        ("door_watcher", "door_watcher", "DoorWatcher"),
        ("door-watcher.2", "door_watcher_2", "DoorWatcher2"),
        ("TTSAgent", "tts_agent", "TtsAgent"),
        ("x", "x", "X"),
    ],
)
def test_a_name_makes_a_module_and_a_class(name: str, module: str, class_name: str) -> None:
    draft = draft_agent(name, Path("here"))
    assert (draft.name, draft.module, draft.class_name) == (name, module, class_name)
    assert [path.name for path in draft.files] == [
        f"{module}.py",
        f"test_{module}.py",
        f"{module}.fleet.yaml",
    ]
    for path, text in draft.files.items():
        assert "$" not in text
        if path.suffix == ".py":
            ast.parse(text)


@pytest.mark.parametrize("name", ["", "2nd", "no name", "a/b", "Ä", "x" * 65, "a$b"])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="is no name of an agent"):
        draft_agent(name, Path("here"))


@pytest.mark.parametrize("name", ["class", "Json", "asyncio", "pytest", "zejzl_ray"])
def test_a_module_that_would_hide_another_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="which Python or a library needs"):
        draft_agent(name, Path("here"))


def test_a_class_that_would_hide_what_the_file_uses_is_refused() -> None:
    with pytest.raises(InvalidInput, match="would be called Greeting"):
        draft_agent("greeting", Path("here"))


def test_a_name_that_the_fleet_has_is_refused() -> None:
    with pytest.raises(AgentExists, match="The fleet has observer already"):
        draft_agent("observer", Path("here"), fleet=FLEET)
    with pytest.raises(AgentExists, match="The fleet has ErrorBus, which means error_bus already"):
        draft_agent("ErrorBus", Path("here"), fleet=FLEET)
    with pytest.raises(InvalidInput, match=r"no machine mainpd\. Did you mean mainpc"):
        draft_agent("Fresh", Path("here"), machine="mainpd", fleet=FLEET)
    assert draft_agent("Fresh", Path("here"), machine="mainpc", fleet=FLEET).name == "Fresh"


def test_all_files_are_written_or_none(tmp_path: Path) -> None:
    draft = draft_agent("Fresh", tmp_path / "new")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "fresh.fleet.yaml").write_text("mine")
    with pytest.raises(Conflict, match="already there"):
        write_agent(draft)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["fresh.fleet.yaml"]
    assert (tmp_path / "new" / "fresh.fleet.yaml").read_text() == "mine"


@pytest.mark.parametrize("machine", ["", "mainpc"])
def test_the_entry_for_the_fleet_file_is_a_good_one(tmp_path: Path, machine: str) -> None:
    write_agent(draft_agent("DoorWatcher", tmp_path, machine=machine))
    snippet = (tmp_path / "door_watcher.fleet.yaml").read_text()
    file = tmp_path / "fleet.yaml"
    file.write_text("schema: zejzl.fleet/1\nmachines:\n  mainpc: {}\n" + snippet)
    loaded = load_fleet([file])
    assert loaded.errors == ()
    assert loaded.fleet is not None
    agent = loaded.fleet.agents["DoorWatcher"]
    assert (agent.kind, agent.entry, agent.machine) == (
        AgentKind.ACTOR, "door_watcher:DoorWatcher", machine or None,
    )  # fmt: skip


def test_a_new_agent_can_be_loaded_and_its_test_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_agent(draft_agent("DoorWatcher", tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_agent_class("door_watcher:DoorWatcher").capabilities == ("greeting",)
    # no plugin: whoever writes an agent has perhaps nothing but pytest
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PATH": os.defpath,
        "HOME": str(tmp_path),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "--rootdir",
        str(tmp_path),
        "test_door_watcher.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
