"""Where the services live, and when they start."""

from zejzl_ray.cluster.names import (
    CORE_ORCHESTRATOR,
    MACHINE_LABEL,
    SECURITY_GATEWAY,
    SERVICES,
    node_agent_name,
)
from zejzl_ray.cluster.topology import PLACES, START_ORDER, scheduling_options, taken_over


def test_every_service_has_one_place_and_a_fallback_elsewhere() -> None:
    assert set(PLACES) == set(SERVICES)
    assert sum(len(row) for row in START_ORDER) == len(SERVICES)
    assert all(place.home != place.fallback for place in PLACES.values())


def test_security_starts_first_then_the_registry_then_the_rest() -> None:
    assert [place.service for place in START_ORDER[0]] == [SECURITY_GATEWAY]
    assert [place.service for place in START_ORDER[1]] == [CORE_ORCHESTRATOR]
    assert len(START_ORDER[2]) == 3


def test_an_actor_asks_for_its_home_and_falls_back() -> None:
    assert scheduling_options(PLACES[CORE_ORCHESTRATOR]) == {
        "label_selector": {MACHINE_LABEL: "mainpc"},
        "fallback_strategy": [{"label_selector": {MACHINE_LABEL: "pc2"}}],
    }


def test_node_agents_are_named_for_their_machine() -> None:
    assert node_agent_name("pc2") == "node_agent:pc2"


def test_everybody_lives_with_the_machine_that_stands_in_for_the_head() -> None:
    place = PLACES[CORE_ORCHESTRATOR]

    assert (taken_over(place, "pc2").home, taken_over(place, "pc2").fallback) == ("pc2", "mainpc")
    assert taken_over(place, "mainpc") == taken_over(place, "") == place
