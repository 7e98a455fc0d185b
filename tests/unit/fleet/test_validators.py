from collections.abc import Callable

import pytest

from zejzl_ray.fleet.load import LoadedFleet
from zejzl_ray.fleet.validators.binds import is_overlap
from zejzl_ray.fleet.validators.cycles import knots

LoadText = Callable[..., LoadedFleet]

HEAD = "schema: zejzl.fleet/1\n"
TWO = HEAD + "machines: {mainpc: , pc2: }\n"


def found(loaded: LoadedFleet) -> list[tuple[str, str]]:
    return [(finding.code, finding.subject) for finding in loaded.findings]


def agents(*lines: str, head: str = TWO) -> str:
    return head + "agents:\n" + "".join(f"  {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("port: 5001", "port: 5001"),
        ("port: 5001", "port: 5002, health_port: 5001"),
        ("port: 5001, health_port: 6001", "port: 5002, health_port: 6001"),
        ("port: 5001, host: localhost", "port: 5001, host: 127.0.0.1"),
        ("port: 5001, host: localhost", "port: 5001"),
        ("port: 5001, host: '::'", "port: 5001, host: 192.168.1.7"),
    ],
)
def test_one_port_of_one_machine_has_one_owner(load_text: LoadText, first: str, second: str) -> None:
    loaded = load_text(agents(f"A: {{machine: pc2, {first}}}", f"B: {{machine: pc2, {second}}}"))
    (finding,) = loaded.errors
    assert finding.code == "port-clash"
    assert finding.line == 5
    assert finding.related[0].line == 4
    assert "A" in finding.message
    assert "B" in finding.message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("machine: pc2, port: 5001, host: localhost", "machine: pc2, port: 5001, host: 192.168.1.7"),
        ("machine: pc2, port: 5001, host: 127.0.0.2", "machine: pc2, port: 5001, host: 127.0.0.1"),
        ("machine: pc2, port: 5001", "machine: pc2, port: 5002"),
        ("machine: pc2, port: 5001, extras: {enabled: false}", "machine: pc2, port: 5001"),
    ],
)
def test_ports_that_do_not_meet_are_no_fault(load_text: LoadText, first: str, second: str) -> None:
    assert load_text(agents(f"A: {{{first}}}", f"B: {{{second}}}")).findings == ()


@pytest.mark.parametrize(
    ("first", "second", "is_shared"),
    [
        ("0.0.0.0", "10.0.0.1", True),
        ("*", "localhost", True),
        ("[::]", "::1", True),
        ("::1", "127.0.0.1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("MainPC", "mainpc", True),
        ("mainpc", "pc2", False),
    ],
)
def test_addresses_overlap_as_sockets_do(first: str, second: str, is_shared: bool) -> None:
    assert is_overlap(first, second) is is_shared
    assert is_overlap(second, first) is is_shared


def test_one_port_on_two_machines_is_one_warning_for_all(load_text: LoadText) -> None:
    loaded = load_text(
        agents(
            "A: {machine: mainpc, port: 5001, health_port: 6001}",
            "B: {machine: pc2, port: 5001, health_port: 6001}",
            "C: {machine: pc2, port: 5003}",
        )
    )
    assert found(loaded) == [("port-clash-single-machine", "5001,6001")]
    (finding,) = loaded.warnings
    assert [place.line for place in finding.related] == [4, 4, 5]


def test_one_port_on_two_machines_bound_to_two_addresses_is_no_fault(load_text: LoadText) -> None:
    loaded = load_text(
        agents(
            "A: {machine: mainpc, port: 5001, host: 10.0.0.1}",
            "B: {machine: pc2, port: 5001, host: 10.0.0.2}",
        )
    )
    assert loaded.findings == ()


@pytest.mark.parametrize(
    ("machine", "port"),
    [("mainpc", 7000), ("pc2", 7000), ("mainpc", 7001), ("pc2", 7002), ("mainpc", 7003), ("mainpc", 7005)],
)
def test_the_ports_of_the_services_are_reserved_where_they_can_run(
    load_text: LoadText, machine: str, port: int
) -> None:
    loaded = load_text(agents(f"A: {{machine: {machine}, port: {port}}}"))
    assert found(loaded) == [("port-clash", str(port))]
    assert "the service" in loaded.errors[0].message


def test_a_declared_service_is_reserved_where_it_says(load_text: LoadText) -> None:
    text = TWO + "services: {error_bus: {home: pc2, port: 7303}}\nagents:\n"
    assert (
        load_text(text + "  A: {machine: mainpc, port: 7303}\n  B: {machine: pc2, port: 7003}\n").findings
        == ()
    )
    assert found(load_text(text + "  A: {machine: pc2, port: 7303}\n")) == [("port-clash", "7303")]


def test_two_services_on_one_port_are_an_error(load_text: LoadText) -> None:
    loaded = load_text(
        TWO + "services: {error_bus: {home: pc2, port: 7400}, security_gateway: {home: pc2, port: 7400}}"
    )
    assert found(loaded) == [("port-clash", "7400")]


def test_an_agent_named_for_a_service_is_its_forerunner(load_text: LoadText) -> None:
    loaded = load_text(
        "agent_groups: {g: {SecurityGateway: {script_path: main_pc_code/s.py, port: 7005},"
        " ErrorBusSuite: {script_path: main_pc_code/e.py, port: 7003}}}"
    )
    assert loaded.findings == ()


def test_the_error_bus_of_a_machine_has_its_port(load_text: LoadText) -> None:
    text = "pc2_services: [{{name: {name}, script_path: pc2_code/a.py, port: 7150}}]\nerror_bus_port: 7150\n"
    assert found(load_text(text.format(name="VisionProcessingAgent"))) == [("port-clash", "7150")]
    assert load_text(text.format(name="CentralErrorBus")).findings == ()


def test_an_agent_without_machine_may_meet_those_of_any(load_text: LoadText) -> None:
    loaded = load_text(
        agents("A: {port: 5001}", "B: {machine: pc2, port: 5001}", "C: {port: 5009}", "D: {port: 5009}")
    )
    assert found(loaded) == [("port-clash", "5001"), ("port-clash", "5009")]
    alone = load_text(agents("A: {port: 5001}", "B: {port: 5001}", head=HEAD))
    assert found(alone) == [("port-clash", "5001")]


def test_a_health_port_is_not_the_port(load_text: LoadText) -> None:
    assert found(load_text(agents("A: {machine: pc2, port: 5001, health_port: 5001}"))) == [
        ("health-port", "A")
    ]


def test_an_agent_declared_twice_says_what_differs(load_text: LoadText) -> None:
    loaded = load_text(
        """\
        agent_groups:
          g:
            A: {script_path: main_pc_code/a.py, port: 5001, config: {x: 1}, required: true}
          h:
            A: {script_path: main_pc_code/a.py, port: 5002, config: {x: 2}, description: d, dependencies: [B]}
            B: {script_path: main_pc_code/b.py, port: 5003}
            B: {script_path: main_pc_code/b.py, port: 5003}
        """
    )
    first, second = loaded.findings
    assert (first.code, first.subject, first.line) == ("duplicate-agent", "A", 5)
    assert first.related[0].line == 3
    assert "differ in port (5001, 5002), dependencies ([], [B]), config (x), description" in first.message
    assert (second.code, second.subject, second.line) == ("duplicate-agent", "B", 7)
    assert "both say the same" in second.message
    assert loaded.fleet is not None
    assert loaded.fleet.agents["A"].port == 5001


def test_one_name_on_both_machines_is_declared_twice(load_text: LoadText) -> None:
    loaded = load_text(
        "agent_groups: {g: {A: {script_path: main_pc_code/a.py, port: 5001}}}",
        "pc2_services: [{name: A, script_path: main_pc_code/a.py, port: 5001}]",
    )
    assert found(loaded) == [("duplicate-agent", "A")]
    assert "machine (mainpc, pc2)" in loaded.errors[0].message


def test_an_agent_may_not_have_the_name_of_a_service(load_text: LoadText) -> None:
    assert found(load_text(agents("error_bus: {port: 5001}"))) == [("service-name", "error_bus")]


def test_a_dependency_on_nobody_suggests_the_near_name(load_text: LoadText) -> None:
    loaded = load_text(
        agents(
            "Alpha: {dependencies: [Betta, Zzz]}",
            "Beta: {dependencies: [error_bus, Old]}",
            "C: {aliases: [Old]}",
        )
    )
    assert found(loaded) == [("unknown-dependency", "Alpha -> Betta"), ("unknown-dependency", "Alpha -> Zzz")]
    assert loaded.findings[0].remedy == "Did you mean Beta?"
    assert loaded.findings[0].column == 26
    assert loaded.findings[1].remedy.startswith("Declare it")


def test_names_of_all_loaded_files_count_as_dependencies(load_text: LoadText) -> None:
    main = "agent_groups: {g: {A: {script_path: main_pc_code/a.py, port: 5001}}}"
    pc2 = "pc2_services: [{name: B, script_path: pc2_code/b.py, port: 5002, dependencies: [A]}]"
    assert load_text(main, pc2).findings == ()
    assert found(load_text(pc2)) == [("unknown-dependency", "B -> A")]


def test_services_have_dependencies_too(load_text: LoadText) -> None:
    loaded = load_text(TWO + "services: {error_bus: {home: pc2, dependencies: [Nobody, error_bus]}}")
    assert found(loaded) == [("unknown-dependency", "error_bus -> Nobody"), ("self-dependency", "error_bus")]


def test_a_dependency_on_oneself_is_an_error_also_by_alias(load_text: LoadText) -> None:
    loaded = load_text(agents("A: {dependencies: [A]}", "B: {aliases: [OldB], dependencies: [OldB]}"))
    assert found(loaded) == [("self-dependency", "A"), ("self-dependency", "B")]


def test_a_circle_is_shown_by_its_shortest_way_with_the_line_of_each_step(load_text: LoadText) -> None:
    loaded = load_text(
        agents(
            "A: {dependencies: [B]}",
            "B: {dependencies: [C]}",
            "C: {dependencies: [D, B]}",
            "D: {dependencies: [A]}",
            "E: {dependencies: [A]}",
        )
    )
    (finding,) = loaded.findings
    assert finding.code == "dependency-cycle"
    assert finding.subject == "B -> C -> B"
    assert (finding.line, finding.column) == (5, 22)
    assert [(place.line, place.text) for place in finding.related] == [(6, "C -> B")]
    assert "also tied into it: A, D" in finding.message


def test_two_knots_are_two_findings_and_aliases_are_followed(load_text: LoadText) -> None:
    loaded = load_text(
        agents(
            "A: {dependencies: [OldB]}",
            "B: {aliases: [OldB], dependencies: [A]}",
            "C: {dependencies: [error_bus]}",
            head=TWO + "services: {error_bus: {home: pc2, dependencies: [C]}}\n",
        )
    )
    assert sorted(finding.subject for finding in loaded.findings) == [
        "A -> B -> A",
        "error_bus -> C -> error_bus",
    ]


def test_knots_are_found_without_recursion() -> None:
    size = 5000
    chain = {str(n): {str(n + 1): ""} for n in range(size)} | {str(size): {"0": ""}}
    assert [len(knot) for knot in knots(chain)] == [size + 1]
    assert knots({"a": {"b": ""}, "b": {}}) == []


def test_machines_that_nobody_declares_are_errors(load_text: LoadText) -> None:
    loaded = load_text(
        TWO + "services: {error_bus: {home: pc3, fallback: pc2}}\nagents: {A: {machine: mainpv}, B: {}}\n"
    )
    assert found(loaded) == [("unknown-machine", "error_bus"), ("unknown-machine", "A")]
    assert loaded.findings[1].remedy == "Did you mean mainpc?"
    assert load_text(HEAD + "agents: {A: {machine: anything}}").findings == ()


def test_an_alias_means_one_thing(load_text: LoadText) -> None:
    loaded = load_text(
        agents(
            "A: {aliases: [B, Old, error_bus]}",
            "B: {aliases: [Old]}",
            head=TWO + "services: {security_gateway: {home: pc2, aliases: [A, Old, error_bus]}}\n",
        )
    )
    assert sorted(found(loaded)) == [
        ("agent-replaced", "A"),
        ("alias-clash", "B"),
        ("alias-clash", "Old"),
        ("alias-clash", "Old"),
        ("alias-clash", "error_bus"),
        ("alias-clash", "error_bus"),
    ]
    assert [finding.subject for finding in loaded.warnings] == ["A"]


def test_video_memory_must_fit_one_card(load_text: LoadText) -> None:
    machines = (
        "machines: {big: {gpus: [{name: x, vram_mib: 24000}]},"
        " small: {gpus: [{name: y, vram_mib: 12000}]}, none: {}}\n"
    )
    loaded = load_text(
        agents(
            "A: {machine: small, needs: {vram_mib: 13000}}",
            "B: {machine: big, needs: {vram_mib: 13000}}",
            "C: {machine: none, needs: {vram_mib: 99000}}",
            "D: {needs: {vram_mib: 99000}}",
            head=HEAD + machines,
        )
    )
    assert found(loaded) == [("vram-too-large", "A")]
    without_none = agents("D: {needs: {vram_mib: 99000}}", head=HEAD + machines.replace(", none: {}", ""))
    assert found(load_text(without_none)) == [("vram-too-large", "D")]
