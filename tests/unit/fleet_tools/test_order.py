"""Start order."""

import itertools

import pytest

from zejzl_ray.errors import FleetInvalid
from zejzl_ray.fleet.model import ServiceDeclaration
from zejzl_ray.fleet.order import canonical_names, dependency_edges, reaches, start_levels
from zejzl_ray.testing.fleets import agent, fleet_of

CORE = ServiceDeclaration(name="core", home="mainpc", port=7000, aliases=("OldCore",))
GATE = ServiceDeclaration(name="gate", home="pc2", port=7005)


def test_each_level_waits_only_for_levels_before_it() -> None:
    fleet = fleet_of(agent("C", "B"), agent("B", "A"), agent("A"), agent("D", "A"))
    assert start_levels(fleet) == (("A",), ("B", "D"), ("C",))


def test_services_come_before_agents_of_the_same_level() -> None:
    fleet = fleet_of(agent("A"), agent("B", "core"), services=(CORE, GATE))
    assert start_levels(fleet) == (("core", "gate", "A"), ("B",))


def test_an_alias_means_its_owner() -> None:
    fleet = fleet_of(
        agent("A", "OldCore", "core"), agent("B", "Other"), agent("C", aliases=("Other",)), services=(CORE,)
    )
    assert dependency_edges(fleet) == {"core": (), "A": ("core",), "B": ("C",), "C": ()}


def test_a_real_name_wins_over_an_alias() -> None:
    assert canonical_names(fleet_of(agent("OldCore"), services=(CORE,)))["OldCore"] == "OldCore"


def test_names_that_nothing_declares_do_not_hold_anybody_up() -> None:
    assert start_levels(fleet_of(agent("A", "Nobody"))) == (("A",),)


def test_a_circle_is_named_in_the_order_of_waiting() -> None:
    fleet = fleet_of(agent("A", "B"), agent("B", "C"), agent("C", "A"), agent("D", "A"))
    with pytest.raises(FleetInvalid) as caught:
        start_levels(fleet)
    circle = caught.value.message.split(": ")[-1].rstrip(".").split(" -> ")
    assert circle[0] == circle[-1]
    assert set(circle) == {"A", "B", "C"}
    assert all(later in fleet.agents[earlier].dependencies for earlier, later in itertools.pairwise(circle))


def test_an_agent_that_waits_for_itself_is_a_circle() -> None:
    with pytest.raises(FleetInvalid, match="A -> A"):
        start_levels(fleet_of(agent("A", "A")))


def test_an_empty_fleet_has_no_levels() -> None:
    assert start_levels(fleet_of()) == ()


def test_reaching_follows_dependencies_and_survives_circles() -> None:
    edges = {"A": ("B",), "B": ("A", "C"), "C": ()}
    assert reaches(edges, "A", "C")
    assert reaches(edges, "C", "C")
    assert not reaches(edges, "C", "A")
    assert not reaches(edges, "A", "Z")
