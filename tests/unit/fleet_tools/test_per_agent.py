"""The view of one agent."""

from pathlib import Path
from typing import Any

import pytest

from zejzl_ray.errors import AgentNotFound, FleetInvalid, SettingsInvalid
from zejzl_ray.fleet.model import Fleet, MachineDeclaration, ServiceDeclaration
from zejzl_ray.fleet.per_agent import Config, find_name
from zejzl_ray.testing.fleets import agent, fleet_of

SETTINGS = {
    "redis": {"url": "redis://x", "db": 0, "max_connections": "7"},
    "ratio": "0.5",
    "whole": 3,
    "on": "Enabled",
    "off": False,
    "folder": "~/data",
    "names": ["a", "b"],
    "nothing": None,
    "health_checks": {"retries": 9},
}


def fleet() -> Fleet:
    made = fleet_of(
        agent(
            "NLUAgent",
            "Other",
            port=5709,
            health_port=6709,
            entry="main_pc_code/agents/nlu_agent.py",
            config=SETTINGS,
            environment={"OWN": "1", "LOG_LEVEL": "DEBUG"},
            capabilities=("nlu",),
        ),
        agent("Other", entry="main_pc_code/agents/util.py", machine="pc2"),
        agent("Third", entry="pc2_code/agents/ForPC2/util.py", machine=None, required=False),
        agent("TranslationService", aliases=("Translator",)),
        services=(ServiceDeclaration(name="core", home="mainpc", port=7000, aliases=("ServiceRegistry",)),),
    )
    machine = MachineDeclaration(
        name="mainpc",
        environment={"LOG_LEVEL": "INFO", "SHARED": "yes"},
        resource_limits={"memory_mb": 2048},
        health_checks={"retries": 3, "interval_seconds": 30},
    )
    return made.model_copy(update={"machines": {**made.machines, "mainpc": machine}})


def config(name: str = "NLUAgent", **environment: str) -> Config:
    return Config.for_agent(name, fleet=fleet(), environment=environment)


def test_the_view_knows_what_is_declared() -> None:
    view = config()
    assert (view.name, view.machine, view.host, view.port, view.health_port) == (
        "NLUAgent",
        "mainpc",
        "0.0.0.0",  # what the fleet says
        5709,
        6709,
    )
    assert (view.dependencies, view.capabilities, view.is_required) == (("Other",), ("nlu",), True)


def test_own_variables_win_over_those_of_the_machine() -> None:
    assert config().environment == {"LOG_LEVEL": "DEBUG", "SHARED": "yes", "OWN": "1"}


def test_own_settings_are_laid_over_those_of_the_machine() -> None:
    view = config()
    assert view.int("resource_limits.memory_mb") == 2048
    assert view.dict("health_checks") == {"retries": 9, "interval_seconds": 30}


def test_a_service_has_a_view_too_by_its_old_name() -> None:
    view = config("ServiceRegistry")
    assert (view.name, view.port, view.health_port, view.machine, view.is_required) == (
        "core",
        7000,
        7000,
        "mainpc",
        True,
    )
    assert view.int("resource_limits.memory_mb") == 2048
    assert view.dependencies == ()


def test_an_agent_that_is_tied_to_no_machine_has_only_its_own() -> None:
    view = config("Third")
    assert (view.machine, view.is_required, view.environment) == (None, False, {})
    assert not view.has("health_checks")


def test_values_are_read_as_the_type_that_is_asked_for() -> None:
    view = config()
    assert view.str("redis.url") == "redis://x"
    assert view.str("whole") == "3"
    assert (view.int("whole"), view.int("redis.max_connections")) == (3, 7)
    assert (view.float("ratio"), view.float("whole")) == (0.5, 3.0)
    assert (view.bool("on"), view.bool("off")) == (True, False)
    assert view.path("folder") == Path("~/data").expanduser()
    assert view.list("names") == ["a", "b"]
    assert view.get("redis.db") == 0
    assert view.get("redis.none", 5) == 5


def test_a_null_is_there_but_has_no_type() -> None:
    view = config()
    assert view.has("nothing")
    with pytest.raises(SettingsInvalid):
        view.str("nothing")


@pytest.mark.parametrize("kind", ["str", "int", "float", "bool", "path", "list", "dict"])
def test_a_missing_value_is_the_default_or_an_error_with_its_place(kind: str) -> None:
    view = config()
    read: Any = getattr(view, kind)
    assert read("redis.none", None) is None
    with pytest.raises(
        SettingsInvalid, match=r"NLUAgent: redis\.none is not set.*ZEJZL_AGENT_NLUAGENT__REDIS__NONE"
    ):
        read("redis.none")


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("str", "off"),
        ("str", "redis"),
        ("int", "off"),
        ("int", "ratio"),
        ("int", "names"),
        ("float", "off"),
        ("float", "on"),
        ("float", "names"),
        ("bool", "ratio"),
        ("path", "whole"),
        ("list", "redis"),
        ("dict", "names"),
        ("dict", "whole"),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error_although_there_is_a_default(kind: str, path: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"NLUAgent: {path} must be") as caught:
        getattr(config(), kind)(path, None)
    assert str(SETTINGS.get(path)) not in caught.value.message


def test_a_variable_wins_and_reaches_keys_with_underscores() -> None:
    view = config(
        ZEJZL_AGENT_NLUAGENT__REDIS__MAX_CONNECTIONS="99",
        ZEJZL_AGENT_NLUAGENT__whole__deep="1",
        ZEJZL_AGENT_NLUAGENT__NEW="n",
        ZEJZL_AGENT_NLUAGENT__="ignored",
        ZEJZL_AGENT_OTHER__NEW="not mine",
    )
    assert view.int("redis.max_connections") == 99
    assert view.str("redis.url") == "redis://x"
    assert view.int("whole.deep") == 1
    assert view.str("new") == "n"


def test_a_view_from_a_file_is_read_again_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fleet.yaml"
    text = "schema: zejzl.fleet/1\nmachines: {m: {}}\nagents:\n  A: {machine: m, port: %d, entry: a.py}\n"
    path.write_text(text % 5000)
    monkeypatch.setenv("ZEJZL_FLEET_FILE", str(path))
    view = Config.for_agent("/somewhere/a.py")
    path.write_text(text % 6000)
    assert (view.port, view.reload().port) == (5000, 6000)
    with pytest.raises(SettingsInvalid, match=r"fleet\.yaml: A: x is not set"):
        view.str("x")
    path.write_text("agents: [")
    with pytest.raises(FleetInvalid):
        view.reload()


def test_a_view_from_memory_cannot_be_read_again() -> None:
    with pytest.raises(SettingsInvalid, match="memory"):
        config().reload()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("NLUAgent", "NLUAgent"),
        ("Translator", "TranslationService"),
        ("/srv/main_pc_code/agents/nlu_agent.py", "NLUAgent"),
        ("C:\\repo\\main_pc_code\\agents\\nlu_agent.py", "NLUAgent"),
        ("moved/nluagent.py", "NLUAgent"),
        ("/srv/pc2_code/agents/ForPC2/util.py", "Third"),
        ("translation_service.py", "TranslationService"),
        ("translation_client.py", "TranslationService"),
        ("main_pc_code/agents/service_registry_agent.py", "core"),
    ],
)
def test_an_agent_is_found_by_name_alias_or_script(given: str, name: str) -> None:
    assert find_name(fleet(), given) == name
    assert find_name(fleet(), Path(given)) == name


def test_a_script_of_several_agents_is_not_guessed() -> None:
    with pytest.raises(SettingsInvalid, match=r"util\.py may mean Other, Third"):
        find_name(fleet(), "util.py")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AgentNotFound, match="nobody"):
        config("nobody")
    with pytest.raises(AgentNotFound, match="nobody"):
        Config(fleet(), "nobody")
