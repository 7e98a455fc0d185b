from serve_apps.event_ring import EventRing
from tests.unit.serve_apps.fake_registry import NOW_S
from zejzl_ray.contracts.orchestrator import AgentEvent


def events(*revisions: int) -> list[AgentEvent]:
    return [
        AgentEvent(kind="agent_deregistered", name="A", revision=revision, at_s=NOW_S, agent=None)
        for revision in revisions
    ]


def revisions_after(ring: EventRing, revision: int, limit: int = 100) -> list[int] | None:
    found = ring.after(revision, limit)
    return None if found is None else [entry.event.revision for entry in found]


def test_changes_after_a_revision_come_in_order_up_to_the_limit() -> None:
    ring = EventRing(10)
    ring.reset(3)
    ring.add(events(4, 5, 7))
    assert revisions_after(ring, 3) == [4, 5, 7]
    assert revisions_after(ring, 5) == [7]
    assert revisions_after(ring, 6) == [7]
    assert revisions_after(ring, 7) == []
    assert revisions_after(ring, 99) == []
    assert revisions_after(ring, 3, limit=2) == [4, 5]


def test_what_is_no_longer_kept_is_said_instead_of_left_out() -> None:
    ring = EventRing(2)
    ring.add(events(1, 2, 3))
    assert revisions_after(ring, 0) is None
    assert revisions_after(ring, 1) == [2, 3]


def test_a_reset_forgets_everything_before_the_revision() -> None:
    ring = EventRing(5)
    ring.add(events(1, 2))
    ring.reset(9)
    assert revisions_after(ring, 2) is None
    assert revisions_after(ring, 9) == []


def test_an_event_is_serialised_once() -> None:
    ring = EventRing(5)
    ring.add(events(1))
    first = (ring.after(0, 1) or [])[0]
    assert first.body is (ring.after(0, 1) or [])[0].body
    assert AgentEvent.model_validate_json(first.body) == first.event
