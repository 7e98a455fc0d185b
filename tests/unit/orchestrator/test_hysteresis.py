from zejzl_ray.contracts.orchestrator import Agent, AgentKind, AgentState, HealthStatus
from zejzl_ray.orchestrator.config import RegistryConfig
from zejzl_ray.orchestrator.hysteresis import SignCounter
from zejzl_ray.orchestrator.states import Cause


def agent(state: AgentState) -> Agent:
    return Agent(
        name="Old",
        kind=AgentKind.EXTERNAL,
        host="127.0.0.1",
        port=5000,
        state=state,
        state_since_s=0,
        registered_at_s=0,
        revision=1,
    )


def counter() -> SignCounter:
    return SignCounter(RegistryConfig())


def test_three_failed_probes_in_a_row_are_needed() -> None:
    signs, healthy = counter(), agent(AgentState.HEALTHY)
    assert [signs.see_probe(healthy, False, at) for at in (0, 10)] == [None, None]
    assert signs.pending(healthy) == "2 of 3 failed probes until unhealthy"
    assert signs.see_probe(healthy, True, 20) is None
    assert signs.pending(healthy) == ""
    assert [signs.see_probe(healthy, False, at) for at in (30, 40, 50)] == [None, None, Cause.PROBES_FAILED]


def test_a_cause_that_could_not_be_stored_comes_again() -> None:
    signs, healthy = counter(), agent(AgentState.HEALTHY)
    causes = [signs.see_probe(healthy, False, at) for at in (0, 10, 20, 30)]
    assert causes[2:] == [Cause.PROBES_FAILED, Cause.PROBES_FAILED]


def test_an_unhealthy_agent_is_lost_when_probes_fail_long_enough() -> None:
    signs = counter()
    for at in (0, 10, 20):
        signs.see_probe(agent(AgentState.HEALTHY), False, at)
    signs.moved("Old")
    unhealthy = agent(AgentState.UNHEALTHY)
    assert signs.see_probe(unhealthy, False, 59) is None
    assert "lost when they fail for 60 s" in signs.pending(unhealthy)
    assert signs.see_probe(unhealthy, False, 60) is Cause.SILENT_TOO_LONG


def test_two_answers_in_a_row_make_it_healthy_again() -> None:
    signs, unhealthy = counter(), agent(AgentState.UNHEALTHY)
    assert signs.see_probe(unhealthy, True, 0) is None
    assert signs.pending(unhealthy) == "1 of 2 good signs in a row until healthy"
    assert signs.see_probe(unhealthy, False, 10) is None
    assert signs.see_probe(unhealthy, True, 20) is None
    assert signs.see_probe(unhealthy, True, 30) is Cause.RECOVERED
    signs.moved("Old")
    assert signs.pending(unhealthy) == ""


def test_the_first_answer_counts_for_agents_not_seen_before() -> None:
    for state in (AgentState.DECLARED, AgentState.STARTING, AgentState.LOST):
        assert counter().see_probe(agent(state), True, 0) is Cause.ANSWERED


def test_failed_probes_of_a_declared_agent_lead_nowhere() -> None:
    signs, declared = counter(), agent(AgentState.DECLARED)
    assert {signs.see_probe(declared, False, at) for at in range(0, 1000, 10)} == {None}
    assert signs.pending(declared) == "100 failed probes in a row"
    signs.forget("Old")
    assert signs.pending(declared) == ""


def test_heartbeats_become_causes_and_recovery_is_counted() -> None:
    signs = counter()
    assert signs.see_heartbeat(agent(AgentState.HEALTHY), HealthStatus.DEGRADED) is Cause.SAID_DEGRADED
    unhealthy = agent(AgentState.UNHEALTHY)
    assert signs.see_heartbeat(unhealthy, HealthStatus.HEALTHY) is Cause.SAID_HEALTHY
    assert signs.see_heartbeat(unhealthy, HealthStatus.UNHEALTHY) is Cause.SAID_UNHEALTHY
    assert signs.see_heartbeat(unhealthy, HealthStatus.HEALTHY) is Cause.SAID_HEALTHY
    assert signs.see_heartbeat(unhealthy, HealthStatus.HEALTHY) is Cause.RECOVERED


def test_moving_keeps_the_time_since_probes_fail() -> None:
    signs = counter()
    signs.moved("Old")
    signs.see_probe(agent(AgentState.UNHEALTHY), True, 0)
    signs.moved("Old")
    assert signs.pending(agent(AgentState.UNHEALTHY)) == ""
