from collections.abc import Callable

import pytest

from zejzl_ray.fleet.load import Family, LoadedFleet
from zejzl_ray.fleet.model import GpuDeclaration, Needs

LoadText = Callable[..., LoadedFleet]

HEAD = "schema: zejzl.fleet/1\n"


def test_a_unified_file_keeps_every_field(load_text: LoadText) -> None:
    loaded = load_text(
        """
        schema: zejzl.fleet/1
        machines:
          mainpc:
            address: 192.168.100.16
            gpus: [{name: RTX 4090, vram_mib: 24564}]
            groups: [core, empty]
            environment: {LOG_LEVEL: INFO}
            resource_limits: {cpu_percent: 80}
            health_checks: {retries: 3}
            volumes: [{source: a, target: b}]
            network: {name: net}
            error_bus_port: 7150
            extras: {x: [1]}
          pc2:
        services:
          security_gateway: {home: pc2, fallback: mainpc, port: 7305, aliases: [AuthenticationAgent]}
          error_bus:
          resource_manager: {home: mainpc, dependencies: [error_bus]}
        agents:
          A:
            kind: process
            machine: mainpc
            group: core
            entry: agents/a.py
            host: 127.0.0.1
            port: ${PORT_OFFSET}+5001
            health_port: 6001
            required: false
            dependencies: [B, security_gateway]
            capabilities: [text.summary]
            aliases: [OldA]
            needs: {vram_mib: 4000, cpus: 0.5, memory_mib: "${MEM:-512}"}
            environment: {X: 1}
            config: {y: 2}
            extras: {z: 3}
          B:
        """
    )
    assert loaded.findings == ()
    fleet = loaded.raise_if_invalid()
    machine = fleet.machines["mainpc"]
    assert machine.address == "192.168.100.16"
    assert machine.gpus == (GpuDeclaration(name="RTX 4090", vram_mib=24564),)
    assert (machine.groups, machine.error_bus_port, machine.extras) == (("core", "empty"), 7150, {"x": [1]})
    assert fleet.services["security_gateway"].port == 7305
    assert (fleet.services["error_bus"].home, fleet.services["error_bus"].fallback) == ("pc2", "mainpc")
    assert (fleet.services["resource_manager"].home, fleet.services["resource_manager"].fallback) == (
        "mainpc",
        None,
    )
    agent = fleet.agents["A"]
    assert (agent.kind, agent.port, agent.health_port, agent.required) == ("process", 5001, 6001, False)
    assert agent.dependencies == ("B", "security_gateway")
    assert agent.needs == Needs(vram_mib=4000, cpus=0.5, memory_mib=512)
    assert (agent.environment, agent.config, agent.extras) == ({"X": "1"}, {"y": 2}, {"z": 3})
    assert (fleet.agents["B"].kind, fleet.agents["B"].port) == ("external", None)
    assert loaded.sources[0].family is Family.UNIFIED


@pytest.mark.parametrize(
    ("text", "code", "subject"),
    [
        ("agents: {}", "schema-missing", "schema"),
        ("schema: zejzl.fleet/2\nagents: {}", "schema-unknown", "schema"),
        ("schema: [x]\nagents: {}", "schema-unknown", "schema"),
        (HEAD + "agnets: {}", "unknown-key", "agnets"),
        (HEAD + "agents: [x]", "wrong-type", "agents"),
        (HEAD + "agents: {A: 7}", "wrong-type", "A"),
        (HEAD + "agents: {'a b': {}}", "name-invalid", "a b"),
        (HEAD + "agents: {A: {prt: 5001}}", "unknown-key", "prt"),
        (HEAD + "agents: {A: {kind: proces}}", "wrong-value", "kind"),
        (HEAD + "agents: {A: {kind: process}}", "missing-field", "A"),
        (HEAD + "agents: {A: {kind: actor}}", "missing-field", "A"),
        (HEAD + "agents: {A: {needs: {vram_mib: -1}}}", "wrong-value", "vram_mib"),
        (HEAD + "agents: {A: {needs: {cpus: .inf}}}", "wrong-value", "cpus"),
        (HEAD + "agents: {A: {needs: {cpus: x}}}", "wrong-type", "cpus"),
        (HEAD + "agents: {A: {needs: {memory_mib: 1.5}}}", "wrong-type", "memory_mib"),
        (HEAD + "agents: {A: {needs: {gpu: 1}}}", "unknown-key", "gpu"),
        (HEAD + "agents: {A: {needs: 4}}", "wrong-type", "needs"),
        (HEAD + "agents: {A: {aliases: ['x y']}}", "name-invalid", "x y"),
        (HEAD + "services: {securty_gateway: {}}", "service-unknown", "securty_gateway"),
        (HEAD + "machines: {m: {gpus: [{name: x}]}}", "missing-field", "vram_mib"),
        (HEAD + "machines: {m: {gpus: [7, ~]}}", "wrong-type", "gpus[0]"),
        (HEAD + "machines: {m: {error_bus_port: 0}}", "port-range", "0"),
        (HEAD + "agents: {A: {port: 5001}, A: {port: 5001}}", "duplicate-agent", "A"),
        (HEAD + "agents: {A: {port: 5001, port: 5002}}", "duplicate-key", "port"),
    ],
)
def test_a_fault_is_one_finding_with_place_and_remedy(
    load_text: LoadText, text: str, code: str, subject: str
) -> None:
    loaded = load_text(text)
    assert [(finding.code, finding.subject) for finding in loaded.findings] == [(code, subject)]
    (finding,) = loaded.findings
    assert finding.line >= 1
    assert finding.remedy
    assert finding.path
    assert loaded.fleet is not None


def test_slips_are_answered_with_the_word_that_was_meant(load_text: LoadText) -> None:
    texts = (
        HEAD + "agnets: {}",
        HEAD + "agents: {A: {kind: proces}}",
        HEAD + "services: {securty_gateway: {}}",
    )
    remedies = [load_text(text).findings[0].remedy for text in texts]
    assert remedies == ["Did you mean agents?", "Did you mean process?", "Did you mean security_gateway?"]
