from collections.abc import Callable

import pytest

from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.machines import Machine
from zejzl_ray.contracts.orchestrator import Agent
from zejzl_ray.sdk.own_writes import OwnWrites
from zejzl_ray.testing import ManualClock

OPERATIONS = {operation.name: operation for operation in wire.OPERATIONS}
LIST, REGISTER = OPERATIONS["list_agents"], OPERATIONS["register_agent"]


@pytest.fixture
def writes(clock: ManualClock) -> OwnWrites:
    return OwnWrites(clock)


def test_a_read_after_a_write_asks_for_its_revision(
    writes: OwnWrites, make_agent: Callable[..., Agent]
) -> None:
    assert writes.query(LIST) == ()
    writes.note(REGISTER, make_agent("A", 7))
    writes.note(REGISTER, make_agent("B", 5))
    assert writes.query(LIST) == writes.query(OPERATIONS["get_agent"]) == (("min_revision", "7"),)


def test_reads_that_are_not_answered_from_a_copy_ask_for_nothing(
    writes: OwnWrites, make_agent: Callable[..., Agent]
) -> None:
    writes.note(REGISTER, make_agent("A", 7))
    assert writes.query(OPERATIONS["explain_agent"]) == ()


def test_a_write_is_forgotten_when_every_copy_must_hold_it(
    writes: OwnWrites, clock: ManualClock, make_agent: Callable[..., Agent]
) -> None:
    writes.note(REGISTER, make_agent("A", 7))
    clock.advance(10.0)
    assert writes.query(LIST) == ()


def test_what_was_only_read_or_is_no_agent_counts_for_nothing(
    writes: OwnWrites, make_agent: Callable[..., Agent]
) -> None:
    writes.note(OPERATIONS["get_agent"], make_agent("A", 7))
    machine = Machine(name="pc2", is_alive=True, first_seen_at_s=1, last_seen_at_s=2, revision=900)
    writes.note(OPERATIONS["report_machine"], machine)
    assert writes.query(LIST) == ()
