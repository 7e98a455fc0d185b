"""Writing the new schema, and moving old files to it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zejzl_ray.errors import FleetInvalid
from zejzl_ray.fleet.load import load_fleet
from zejzl_ray.fleet.migrate import migrate_files
from zejzl_ray.fleet.model import (
    AgentDeclaration,
    AgentKind,
    Fleet,
    GpuDeclaration,
    MachineDeclaration,
    Needs,
    ServiceDeclaration,
)
from zejzl_ray.fleet.writer import write_unified
from zejzl_ray.testing.fleets import agent, fleet_of

LEGACY = Path(__file__).parents[4] / "shared" / "data" / "legacy_configs"
real_files = pytest.mark.skipif(
    not LEGACY.is_dir(), reason="the real startup files are not beside the repository"
)

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,12}", fullmatch=True)
TEXTS = st.text(
    alphabet=st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=40
).filter(lambda text: "$" not in text)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
PORTS = st.none() | st.integers(1024, 65535)
AGENTS = st.builds(
    AgentDeclaration,
    name=NAMES,
    kind=st.just(AgentKind.EXTERNAL),
    group=st.none() | TEXTS.filter(bool),
    port=PORTS,
    health_port=PORTS,
    required=st.booleans(),
    dependencies=st.lists(NAMES, max_size=4, unique=True).map(tuple),
    capabilities=st.lists(NAMES, max_size=2, unique=True).map(tuple),
    needs=st.builds(Needs, vram_mib=st.integers(0, 99), cpus=st.sampled_from([0, 0.5, 2])),
    environment=st.dictionaries(NAMES, TEXTS, max_size=3),
    config=st.dictionaries(NAMES, VALUES, max_size=3),
    extras=st.dictionaries(NAMES, VALUES, max_size=2),
)


def read(text: str, folder: Path) -> Fleet:
    path = folder / "fleet.yaml"
    path.write_text(text, encoding="utf-8")
    loaded = load_fleet([path], validators=())
    assert loaded.fleet is not None
    return loaded.fleet


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(agents=st.lists(AGENTS, max_size=3, unique_by=lambda one: one.name))
def test_what_is_written_reads_back_as_the_same_fleet(agents: list[AgentDeclaration], tmp_path: Path) -> None:
    fleet = fleet_of(*agents)
    assert read(write_unified(fleet), tmp_path) == fleet


def test_machines_and_services_read_back_too(tmp_path: Path) -> None:
    fleet = Fleet(
        machines={
            "big": MachineDeclaration(
                name="big",
                address="10.0.0.1",
                gpus=(GpuDeclaration(name="RTX", vram_mib=24564),),
                groups=("a", "b"),
                environment={"DEBUG": "false"},
                resource_limits={"cpu_percent": 80},
                volumes=({"source": "a", "target": "b"},),
                error_bus_port=7150,
            )
        },
        services={
            "error_bus": ServiceDeclaration(name="error_bus", home="big", port=7003, aliases=("Old",)),
        },
    )
    assert read(write_unified(fleet), tmp_path) == fleet


def test_defaults_are_left_out_and_the_schema_comes_first() -> None:
    text = write_unified(fleet_of(agent("A", "B", port=1)), comment="one\n\ntwo")
    assert text == (
        "# one\n#\n# two\nschema: zejzl.fleet/1\n\nmachines:\n  mainpc: {}\n  pc2: {}\n\n"
        "agents:\n  A:\n    machine: mainpc\n    port: 1\n    dependencies: [B]\n"
    )


def test_an_empty_fleet_is_only_its_schema() -> None:
    assert write_unified(Fleet()) == "schema: zejzl.fleet/1\n"


def test_expressions_and_comments_stand_where_they_belong() -> None:
    text = write_unified(
        fleet_of(agent("A", port=1)),
        expressions={("agents", "A", "port"): "${X}+1"},
        comments={("agents", "A"): ["why"]},
    )
    assert "  # why\n  A:\n    machine: mainpc\n    port: ${X}+1\n" in text


OLD = """\
global_settings:
  environment: {LEVEL: "${LEVEL:-INFO}", N: 1, NOTHING: null}
agent_groups:
  g:
    A:
      script_path: main_pc_code/${WHERE:-here}/a.py
      port: ${PORT_OFFSET}+7100
      health_check_port: ${PORT_OFFSET}+8100
      required: ${ON:-true}
      config: {url: "${URL:-x}", deep: {list: ["${Y}", 1]}}   # a remark
    B: {script_path: main_pc_code/b.py, port: 5, required: false, startup_priority: 3}
error_bus_port: ${PORT_OFFSET}+7150
"""


@pytest.mark.parametrize(
    "environment", [{}, {"PORT_OFFSET": "10", "LEVEL": "DEBUG", "URL": "u", "ON": "false", "Y": "y"}]
)
def test_a_migrated_file_means_the_same_under_every_environment(
    environment: dict[str, str], tmp_path: Path
) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(OLD)
    migrated = migrate_files([old])
    new.write_text(migrated.text)
    before, after = (load_fleet([path], environment=environment, validators=()).fleet for path in (old, new))
    assert before == after
    assert "port: ${PORT_OFFSET}+7100\n" in migrated.text
    assert '# config: {url: "${URL:-x}", deep: {list: ["${Y}", 1]}}  # a remark' in migrated.text


def test_a_new_file_can_be_migrated_to_itself(tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(OLD)
    new.write_text(migrate_files([old]).text)
    again = migrate_files([new]).text
    assert load_fleet([new]).fleet == read(again, tmp_path)
    assert "error_bus_port: ${PORT_OFFSET}+7150" in again


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FleetInvalid, match="there is no file"):
        migrate_files([tmp_path / "none.yaml"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("agent_groups: {g: {A: {script_path: a.py, port: abc}}}", r"old\.yaml:1:49: .*'abc'"),
        ("agent_groups: {g: {A: {script_path: a.py, port: 70000}}}", "70000, outside of 1 to 65535"),
        ("agent_groups: {g: {A: {script_path: a.py, port: 1, port: 2}}}", "port stands twice"),
        ("agent_groups: {g: {A: {script_path: a.py, port: 1}, B: 5}}", "describes an agent"),
        ("pc2_services: [{port: 7100}]", "has no name"),
        ("agent_groups: &g {g: *g}", "contains itself"),
        ("agent_groups: {g: {A: {script_path: a.py, port: 1}}}\n---\nx: 1\n", "a second document begins"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_and_not_dropped(text: str, said: str, tmp_path: Path) -> None:
    old = tmp_path / "old.yaml"
    old.write_text(text)
    with pytest.raises(FleetInvalid, match=said) as refused:
        migrate_files([old])
    assert str(refused.value).endswith("so nothing was written.")


def test_what_cannot_be_taken_over_can_be_left_out(tmp_path: Path) -> None:
    old = tmp_path / "old.yaml"
    old.write_text("agent_groups: {g: {A: {script_path: a.py, port: abc}}}")
    assert "port" not in migrate_files([old], is_loss_allowed=True).text


@real_files
def test_the_real_files_migrate_without_losing_anything(tmp_path: Path) -> None:
    files = sorted(LEGACY.glob("*.yaml"))
    migrated = migrate_files(files)
    assert read(migrated.text, tmp_path) == load_fleet(files, validators=()).fleet
    assert len(migrated.fleet.agents) == 82
    assert "health_check_port: 7141" in migrated.text
    assert "PYTHONPATH: ${PYTHONPATH}:${PWD}/.." in migrated.text
