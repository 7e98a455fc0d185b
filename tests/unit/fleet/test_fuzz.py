"""Whatever stands in a file: findings, never an exception."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from zejzl_ray.fleet.finding import Finding
from zejzl_ray.fleet.load import load_fleet

SEEDS = (
    """\
global_settings: &g
  environment: {PYTHONPATH: '${PYTHONPATH}:${PWD}/..', LOG_LEVEL: INFO}
  resource_limits: {cpu_percent: 80}
agent_groups:
  core_services:
    ServiceRegistry:
      script_path: main_pc_code/agents/service_registry_agent.py
      port: ${PORT_OFFSET}+7200
      health_check_port: 8200
      required: ${RTAP_ENABLED:-false} == 'false'
      dependencies: [SystemDigitalTwin]
      config: {redis: {url: redis://localhost:6379/0}}
    SystemDigitalTwin: {<<: *g, port: 7120, dependencies: [ServiceRegistry]}
  utilities_support: null
  docker_groups: {infra: {description: x, agents: [ServiceRegistry]}}
""",
    """\
pc2_services:
  - {name: MemoryOrchestratorService, script_path: pc2_code/m.py, host: 0.0.0.0, port: 7140, required: true}
  - {name: VisionProcessingAgent, script_path: pc2_code/v.py, port: 7150, dependencies: [ResourceManager]}
core_services:
  - name: MemoryOrchestratorService
    port: 7140
    health_check_port: 7141
pc2_network: {host: '0.0.0.0', agent_ports: {start: 7100, end: 7199}}
error_bus_port: 7150
""",
    """\
schema: zejzl.fleet/1
machines: {mainpc: {gpus: [{name: x, vram_mib: 24000}], error_bus_port: 7150}, pc2: }
services: {security_gateway: {home: pc2, aliases: [AuthenticationAgent]}}
agents:
  A: {kind: process, machine: mainpc, entry: a.py, port: 5001, needs: {vram_mib: 4000}, aliases: [B]}
  C: {dependencies: [A, security_gateway], capabilities: [x], environment: {Y: 1}, config: {z: [1, {a: b}]}}
""",
)
PIECES = st.sampled_from(
    [
        "",
        "null",
        "~",
        "[]",
        "{}",
        "- ",
        ": ",
        "?",
        "&a ",
        "*a",
        "<<: *g",
        "!!int ",
        "!x ",
        "'",
        '"',
        "|",
        "\n",
        "  ",
        "\t",
        "---\n",
        "${",
        "}",
        "${X}",
        "${X+",
        "99999999999",
        "-1",
        "1.5",
        ".inf",
        "true",
        "0x",
        "2001-01-01",
        "\x00",
        "\ufeff",
        "\U0001f600",
        "{a: [1, {b: ~}]}",
        "name",
        "port: x",
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text = text[:start] + draw(PIECES) + text[end:]
    return text.encode("utf-8", "surrogatepass")


def check(first: bytes, second: bytes, overlay: bytes | None) -> None:
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / "1.yaml", Path(folder) / "2.yaml"]
        for path, data in zip(paths, (first, second), strict=True):
            path.write_bytes(data)
        over = None
        if overlay is not None:
            over = Path(folder) / "over.yaml"
            over.write_bytes(overlay)
        loaded = load_fleet(paths, environment={"X": "1"}, overlay=over)
    assert all(isinstance(finding, Finding) for finding in loaded.findings)
    assert all("\n" not in str(finding) for finding in loaded.findings)
    assert loaded.fleet is not None or loaded.errors
    assert "validator-failed" not in {finding.code for finding in loaded.findings}


@given(st.binary(max_size=200))
@example(b"\xff\xfea\x00")
@example(b"a: &a [*a, *a]")
@example(b"agent_groups: &a {g: *a}")
@example(b"agent_groups: &a {x: *a, A: {port: 1}}\npc2_services: [*a]")
def test_any_bytes_give_findings(data: bytes) -> None:
    check(data, b"agent_groups: {}", None)


@given(st.text(st.sampled_from("ab:-[]{}&*!|>'\"#%@`,?~ \n\t$+01"), max_size=80))
def test_any_text_gives_findings(text: str) -> None:
    check(
        b"agent_groups: {g: " + text.encode() + b"}", b"schema: zejzl.fleet/1\nagents: " + text.encode(), None
    )


@settings(max_examples=150)
@given(mutated(), mutated(), st.none() | mutated())
def test_damaged_configurations_give_findings(first: bytes, second: bytes, overlay: bytes | None) -> None:
    check(first, second, overlay)
