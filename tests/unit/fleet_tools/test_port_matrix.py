"""The port allocation matrix."""

from zejzl_ray.fleet.model import AgentDeclaration, Fleet, MachineDeclaration, ServiceDeclaration
from zejzl_ray.fleet.port_matrix import PortRow, claims, matrix_markdown, port_rows
from zejzl_ray.testing.fleets import agent, fleet_of

HUB = ServiceDeclaration(name="hub", home="pc2", fallback="mainpc", port=7002)


def small() -> Fleet:
    fleet = fleet_of(
        agent("A", port=7100, health_port=8100), AgentDeclaration(name="Loose", port=9), services=(HUB,)
    )
    machines = {
        **fleet.machines,
        "pc2": MachineDeclaration(name="pc2", address="10.0.0.2", error_bus_port=7150),
    }
    return fleet.model_copy(update={"machines": machines})


def test_every_port_has_an_owner_a_role_and_an_address() -> None:
    assert port_rows(small(), has_platform=False) == (
        PortRow("any", 9, "Loose", "agent", "0.0.0.0:9"),
        PortRow("mainpc", 7002, "hub", "fallback", "mainpc:7002"),
        PortRow("mainpc", 7100, "A", "agent", "0.0.0.0:7100"),
        PortRow("mainpc", 8100, "A", "health", "0.0.0.0:8100"),
        PortRow("pc2", 7002, "hub", "service", "10.0.0.2:7002"),
        PortRow("pc2", 7150, "error_bus bridge", "error bus", "10.0.0.2:7150"),
    )


def test_a_port_is_claimed_by_fallbacks_and_by_the_platform_too() -> None:
    assert [row.owner for row in claims(small(), "mainpc", 7002)] == ["hub"]
    assert [row.owner for row in claims(small(), "pc2", 6380)] == ["Redis"]
    assert [row.owner for row in claims(small(), None, 9)] == ["Loose"]
    assert claims(small(), "pc2", 9) == ()


def test_a_service_at_a_machine_that_nobody_declares_is_listed_by_its_name() -> None:
    (row,) = port_rows(Fleet(services={"x": ServiceDeclaration(name="x", home="far", port=1)}))
    assert row.address == "far:1"
    assert row.as_dict()["machine"] == "far"


def test_the_page_has_a_table_a_machine() -> None:
    page = matrix_markdown(small())
    assert [line for line in page.splitlines() if line.startswith("## ")] == ["## any", "## mainpc", "## pc2"]
    assert "| 7100 | A | agent | 0.0.0.0:7100 |" in page
    assert page.endswith("|\n")
