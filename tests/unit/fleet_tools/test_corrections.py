"""Corrections apply where the fault is, and only there."""

from zejzl_ray.fleet.corrections import (
    CORRECTIONS,
    TEXT_CORRECTIONS,
    DropDependency,
    GiveDefault,
    MovePorts,
    apply_corrections,
)
from zejzl_ray.fleet.model import MachineDeclaration, ServiceDeclaration
from zejzl_ray.testing.fleets import agent, fleet_of

DROP = DropDependency("break", "A", "B", "because")
MOVE = MovePorts("move", "A", "because", {1000: 1001, 2000: 2001})


def test_a_dependency_is_dropped_while_it_closes_a_circle() -> None:
    fleet, done = apply_corrections(fleet_of(agent("A", "B", "C"), agent("B", "A"), agent("C")), (DROP,))
    assert fleet.agents["A"].dependencies == ("C",)
    assert [one.as_dict() for one in done] == [
        {"name": "break", "subject": "A", "change": "no longer depends on B", "reason": "because"}
    ]


def test_a_dependency_outside_of_a_circle_stays() -> None:
    for fleet in (
        fleet_of(agent("A", "B"), agent("B")),
        fleet_of(agent("A", "B")),
        fleet_of(agent("A")),
        fleet_of(),
    ):
        assert apply_corrections(fleet, (DROP,)) == (fleet, ())


def test_ports_move_while_somebody_else_claims_one() -> None:
    fleet = fleet_of(agent("A", port=1000, health_port=2000), agent("B", port=1000))
    corrected, done = apply_corrections(fleet, (MOVE,))
    assert (corrected.agents["A"].port, corrected.agents["A"].health_port) == (1001, 2001)
    assert done[0].change == "port 1000 -> 1001, health_port 2000 -> 2001"
    assert list(corrected.agents) == ["A", "B"]


def test_a_fallback_and_the_error_bus_claim_ports_too() -> None:
    service = ServiceDeclaration(name="s", home="pc2", fallback="mainpc", port=1000)
    assert apply_corrections(fleet_of(agent("A", port=1000), services=(service,)), (MOVE,))[1]
    fleet = fleet_of(agent("A", port=1000))
    machines = {"mainpc": MachineDeclaration(name="mainpc", error_bus_port=1000)}
    assert apply_corrections(fleet.model_copy(update={"machines": machines}), (MOVE,))[1]


def test_ports_stay_when_nobody_claims_them_or_the_new_ones_are_taken() -> None:
    for fleet in (
        fleet_of(agent("A", port=1000), agent("B", port=1000, machine="pc2")),
        fleet_of(agent("A", port=1000), agent("B", port=1000), agent("C", health_port=1001)),
        fleet_of(agent("A", port=3000), agent("B", port=3000)),
        fleet_of(),
    ):
        assert apply_corrections(fleet, (MOVE,)) == (fleet, ())


def test_a_variable_gets_a_default_once() -> None:
    rule = GiveDefault("d", "V", ".", "because")
    outcome = rule.apply_to_text("a: ${V}/x", "f.yaml")
    assert outcome is not None
    text, done = outcome
    assert text == "a: ${V:-.}/x"
    assert done.change == "${V} -> ${V:-.}"
    assert rule.apply_to_text(text, "f.yaml") is None


def test_every_correction_has_a_name_of_its_own() -> None:
    names = [*(rule.name for rule in CORRECTIONS), *(rule.name for rule in TEXT_CORRECTIONS)]
    assert len(set(names)) == len(names)
