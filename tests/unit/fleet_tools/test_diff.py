"""Differences between fleets."""

from zejzl_ray.fleet.diff import Change, ChangeKind, diff_fleets
from zejzl_ray.fleet.model import Fleet
from zejzl_ray.testing.fleets import agent, fleet_of


def test_a_fleet_does_not_differ_from_itself(old_fleet: Fleet) -> None:
    assert diff_fleets(old_fleet, old_fleet) == ()


def test_order_of_declaration_is_no_difference() -> None:
    assert diff_fleets(fleet_of(agent("A"), agent("B")), fleet_of(agent("B"), agent("A"))) == ()


def test_added_and_removed_members_are_named() -> None:
    changes = diff_fleets(fleet_of(agent("A")), fleet_of(agent("B")))
    assert [str(change) for change in changes] == ["agent A: removed", "agent B: added"]


def test_a_changed_setting_is_named_by_its_dotted_path() -> None:
    before = fleet_of(agent("A", config={"redis": {"url": "x", "db": 0}}))
    after = fleet_of(agent("A", "B", config={"redis": {"url": "y", "prefix": "p"}}))
    assert diff_fleets(before, after) == (
        Change(ChangeKind.CHANGED, "agent", "A", "dependencies", [], ["B"]),
        Change(ChangeKind.CHANGED, "agent", "A", "config.redis.url", "x", "y"),
        Change(ChangeKind.CHANGED, "agent", "A", "config.redis.db", 0, None),
        Change(ChangeKind.CHANGED, "agent", "A", "config.redis.prefix", None, "p"),
    )


def test_true_and_one_are_different_values() -> None:
    (change,) = diff_fleets(fleet_of(agent("A", config={"x": True})), fleet_of(agent("A", config={"x": 1})))
    assert change.as_dict() == {
        "kind": "changed",
        "part": "agent",
        "name": "A",
        "field": "config.x",
        "old": True,
        "new": 1,
    }
    assert str(change) == "agent A.config.x: True -> 1"
