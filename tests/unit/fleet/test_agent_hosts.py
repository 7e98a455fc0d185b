"""Hosts of agents in a fleet file: read, checked, declared, shown and written."""

from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from zejzl_ray.fleet.declare import declare_command
from zejzl_ray.fleet.diff import diff_fleets
from zejzl_ray.fleet.finding import Finding
from zejzl_ray.fleet.load import LoadedFleet
from zejzl_ray.fleet.model import AgentKind, Fleet
from zejzl_ray.fleet.picture import graphviz, mermaid
from zejzl_ray.fleet.schema import json_schema
from zejzl_ray.fleet.writer import write_unified

LoadText = Callable[..., LoadedFleet]

FLEET = """\
schema: zejzl.fleet/1
machines:
  mainpc: {gpus: [{name: A, vram_mib: 8000}, {name: B, vram_mib: 24000}]}
  pc2: {}
hosts:
  talk: {machine: mainpc, cpus: 0.5, vram_mib: 6000, memory_mib: 512, resources: {camera: 1}, path: [agents, /opt/a]}
  see: {machine: pc2}
agents:
  Listener: {agent_host: talk, entry: "talk.ears:Listener", config: {model: small}, mail_scope: talkers}
  Speaker: {kind: actor, machine: mainpc, agent_host: talk, entry: "talk.mouth:Speaker"}
  Watcher: {agent_host: see, entry: "watch:Watcher"}
  Outside: {machine: pc2, port: 5000}
"""


def fleet_with(load_text: LoadText, old: str = "", new: str = "", **options: Any) -> LoadedFleet:
    assert old in FLEET
    return load_text(FLEET.replace(old, new) if old else FLEET, **options)


def one(loaded: LoadedFleet) -> Finding:
    (finding,) = loaded.findings
    return finding


def test_hosts_and_their_agents_are_read(load_text: LoadText) -> None:
    loaded = fleet_with(load_text)
    assert loaded.findings == ()
    fleet = loaded.raise_if_invalid()
    talk = fleet.hosts["talk"]
    assert (talk.machine, talk.cpus, talk.vram_mib, talk.memory_mib) == ("mainpc", 0.5, 6000, 512)
    assert (talk.resources, talk.path) == ({"camera": 1}, ("agents", "/opt/a"))
    assert (fleet.hosts["see"].cpus, fleet.hosts["see"].path) == (0.1, ())
    listener = fleet.agents["Listener"]
    assert (listener.kind, listener.machine, listener.agent_host) == (AgentKind.ACTOR, "mainpc", "talk")
    assert listener.mail_scope == "talkers"
    assert fleet.agents["Outside"].agent_host is None


def test_an_overlay_moves_an_agent_to_another_host_and_resizes_one(load_text: LoadText) -> None:
    overlay = """
        hosts: {see: {cpus: 2}}
        agents: {Listener: {agent_host: see}}
    """
    fleet = fleet_with(load_text, overlay=overlay).raise_if_invalid()
    assert fleet.hosts["see"].cpus == 2
    assert (fleet.agents["Listener"].agent_host, fleet.agents["Listener"].machine) == ("see", "pc2")


@pytest.mark.parametrize(
    ("old", "new", "code", "subject", "words"),
    [
        ("agent_host: see", "agent_host: sea", "unknown-host", "Watcher", "Declared are talk, see."),
        ("watch:Watcher", "watch", "entry-invalid", "Watcher", "package.module:Class"),
        ("watch:Watcher", "watch.py:1", "entry-invalid", "Watcher", "names no class"),
        (', entry: "watch:Watcher"', "", "missing-field", "Watcher", "an entry module:Class"),
        ("machine: pc2}", "machine: pc3}", "unknown-machine", "see", "Declared are mainpc, pc2."),
        ("see: {machine: pc2}", "see: {}", "missing-field", "see", "names no machine"),
        ("machine: mainpc, agent_host", "machine: pc2, agent_host", "agent-host-machine", "Speaker", "is on mainpc"),
        ("vram_mib: 6000", "vram_mib: 25000", "vram-too-large", "talk", "24000 MiB"),
        ("kind: actor", "kind: process", "agent-host-kind", "Speaker", "kind: actor"),
        ("mail_scope: talkers", "mail_scope: Talkers", "mail-scope", "Listener", "small letter"),
        ("cpus: 0.5", "cpus: -1", "wrong-value", "cpus", "0 or more"),
        ("camera: 1", "camera: much", "wrong-type", "camera", "a number"),
        ("path: [agents, /opt/a]", "path: agents", "wrong-type", "path", "a list"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_an_error_with_place_and_remedy(
    load_text: LoadText, old: str, new: str, code: str, subject: str, words: str
) -> None:
    loaded = fleet_with(load_text, old, new)
    (finding,) = loaded.errors
    assert (finding.code, finding.subject) == (code, subject)
    assert finding.line is not None
    assert finding.line > 4
    assert words in str(finding)


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("agent_host: see, entry", "kind: actor, entry", "agent-host-empty", "no agent names the host see"),
        ("config: {model: small}", "environment: {A: b}", "agent-host-environment", "share a process"),
        ("config: {model: small}", "needs: {vram_mib: 7000}", "agent-host-vram", "7000 MiB"),
        ("vram_mib: 6000,", "vram: 6000,", "unknown-key", "vram"),
    ],
)
def test_what_has_no_effect_is_a_warning(
    load_text: LoadText, old: str, new: str, code: str, words: str
) -> None:
    finding = one(fleet_with(load_text, old, new))
    assert (finding.code, finding.is_error) == (code, False)
    assert words in finding.message


def test_an_agent_names_a_host_of_a_fleet_without_hosts(load_text: LoadText) -> None:
    finding = one(load_text('schema: zejzl.fleet/1\nagents:\n  A: {agent_host: x, entry: "a:A"}\n'))
    assert (finding.code, finding.remedy) == ("unknown-host", "Declare it under 'hosts'.")


def test_two_hosts_of_one_name_and_names_that_are_too_long(load_text: LoadText) -> None:
    finding = one(load_text(FLEET, "schema: zejzl.fleet/1\nhosts: {see: {machine: pc2}}\n"))
    assert (finding.code, finding.subject) == ("duplicate-host", "see")
    assert finding.related[0].line == 7
    long = "h" * 101
    (finding,) = load_text(FLEET.replace("see", long)).errors
    assert finding.code == "name-invalid"


def test_an_agent_that_is_switched_off_is_not_judged(load_text: LoadText) -> None:
    text = FLEET.replace('entry: "watch:Watcher"', 'entry: "watch", extras: {enabled: false}')
    assert one(load_text(text)).code == "agent-host-empty"


def test_the_registry_is_told_of_the_host_before_it_runs(load_text: LoadText) -> None:
    command = declare_command(fleet_with(load_text).raise_if_invalid(), "fleet.yaml")
    entries = {entry.name: entry for entry in command.agents}
    listener = entries["Listener"]
    assert (listener.kind, listener.machine) == ("actor", "mainpc")
    assert listener.metadata["agent_host"] == "talk"
    assert listener.metadata["entry"] == "talk.ears:Listener"
    assert "agent_host" not in entries["Outside"].metadata


def test_what_is_written_reads_back_the_same(load_text: LoadText) -> None:
    fleet = fleet_with(load_text).raise_if_invalid()
    text = write_unified(fleet)
    assert load_text(text).raise_if_invalid() == fleet
    assert text.index("hosts:") < text.index("agents:")
    jsonschema.validate(_yaml(text), json_schema())


def test_the_schema_refuses_what_is_no_host() -> None:
    file = {"schema": "zejzl.fleet/1", "hosts": {"talk": {"cpus": 1}}}
    with pytest.raises(jsonschema.ValidationError, match="'machine' is a required property"):
        jsonschema.validate(file, json_schema())


def test_a_picture_puts_the_agents_of_a_host_together(load_text: LoadText) -> None:
    fleet = fleet_with(load_text).raise_if_invalid()
    for picture in (mermaid(fleet), graphviz(fleet)):
        after = picture[picture.index("host talk") :]
        assert after.index("Listener") < after.index("Speaker")
        assert "host see" in picture


def test_a_changed_host_is_a_difference(load_text: LoadText) -> None:
    fleet = fleet_with(load_text).raise_if_invalid()
    hosts = {**fleet.hosts, "see": fleet.hosts["see"].model_copy(update={"cpus": 1.0})}
    del hosts["talk"]
    changed = Fleet(machines=fleet.machines, hosts=hosts, agents=fleet.agents)
    assert [str(change) for change in diff_fleets(fleet, changed)] == [
        "host talk: removed",
        "host see.cpus: 0.1 -> 1.0",
    ]


def _yaml(text: str) -> Any:
    import yaml

    return yaml.safe_load(text)
