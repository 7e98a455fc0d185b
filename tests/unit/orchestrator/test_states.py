import pytest

from zejzl_ray.contracts.orchestrator import AgentState
from zejzl_ray.orchestrator.states import LIVE, MEANING, STATES, TABLE, Cause, next_state, render_table


def test_the_table_answers_every_state_and_cause() -> None:
    assert set(TABLE) == {(state, cause) for state in STATES for cause in Cause}
    assert set(STATES) == {None, *AgentState}
    assert set(MEANING) == set(Cause)


def test_only_registration_and_declaration_make_an_unknown_agent_known() -> None:
    known = {cause for cause in Cause if next_state(None, cause) not in (None, AgentState.STOPPED)}
    assert known == {Cause.REGISTERED, Cause.DECLARED}


@pytest.mark.parametrize("cause", [Cause.PROBES_FAILED, Cause.LEASE_EXPIRED, Cause.SILENT_TOO_LONG])
def test_an_agent_that_was_never_seen_is_not_counted_as_lost(cause: Cause) -> None:
    assert next_state(AgentState.DECLARED, cause) is AgentState.DECLARED


@pytest.mark.parametrize("cause", [Cause.SAID_HEALTHY, Cause.ANSWERED, Cause.RECOVERED, Cause.LEASE_EXPIRED])
def test_a_stopped_agent_moves_only_by_registration(cause: Cause) -> None:
    assert next_state(AgentState.STOPPED, cause) is None
    assert next_state(AgentState.STOPPED, Cause.REGISTERED) is AgentState.STARTING


def test_a_lost_agent_that_is_heard_again_is_on_probation_first() -> None:
    assert next_state(AgentState.LOST, Cause.SAID_HEALTHY) is AgentState.STARTING
    assert next_state(AgentState.LOST, Cause.ANSWERED) is AgentState.STARTING
    assert next_state(AgentState.STARTING, Cause.SAID_HEALTHY) is AgentState.HEALTHY


def test_one_good_heartbeat_does_not_make_an_unhealthy_agent_healthy() -> None:
    assert next_state(AgentState.UNHEALTHY, Cause.SAID_HEALTHY) is AgentState.UNHEALTHY
    assert next_state(AgentState.UNHEALTHY, Cause.RECOVERED) is AgentState.HEALTHY


@pytest.mark.parametrize("state", sorted(LIVE))
def test_every_live_state_is_lost_with_its_lease(state: AgentState) -> None:
    assert next_state(state, Cause.LEASE_EXPIRED) is AgentState.LOST


def test_the_rendered_table_has_a_row_for_each_cause_and_a_column_for_each_state() -> None:
    lines = render_table().splitlines()
    assert len(lines) == 2 + len(Cause)
    assert all(line.count("|") == len(STATES) + 3 for line in lines)
    assert any(
        line.startswith("| lease_expired | x | - | lost | lost | lost | lost | - | x |") for line in lines
    )
