import asyncio

from zejzl_ray.contracts.orchestrator import Agent, AgentKind, AgentState
from zejzl_ray.orchestrator.ports import ProbeOutcome
from zejzl_ray.orchestrator.probing import ProbeSchedule, ProbeTarget, probe_all, target_of
from zejzl_ray.orchestrator.tcp_prober import TcpProber


def agent(**fields: object) -> Agent:
    return Agent.model_validate(
        {
            "name": "Old",
            "kind": AgentKind.EXTERNAL,
            "host": "0.0.0.0",
            "state": AgentState.DECLARED,
            "state_since_s": 0,
            "registered_at_s": 0,
            "revision": 1,
            **fields,
        }
    )


def test_each_agent_is_due_once_a_period_and_not_all_at_once() -> None:
    schedule = ProbeSchedule(10.0)
    for number in range(50):
        schedule.add(f"A{number}", 0.0)
    first = [schedule.take_due(float(at), 100) for at in range(11)]
    assert sorted(name for names in first for name in names) == sorted(f"A{number}" for number in range(50))
    assert max(len(names) for names in first) < 20
    again = [name for at in range(11, 21) for name in schedule.take_due(float(at), 100)]
    assert len(again) == len(set(again)) == 50


def test_a_dropped_agent_is_not_due_and_adding_twice_keeps_the_turn() -> None:
    schedule = ProbeSchedule(10.0)
    schedule.add("A", 0.0)
    schedule.add("A", 500.0)
    schedule.add("B", 0.0)
    schedule.drop("B")
    schedule.drop("B")
    assert schedule.take_due(10.0, 10) == ["A"]
    assert len(schedule) == 1


def test_the_number_taken_is_bounded() -> None:
    schedule = ProbeSchedule(10.0)
    for number in range(5):
        schedule.add(f"A{number}", 0.0)
    assert len(schedule.take_due(10.0, 2)) == 2
    assert len(schedule.take_due(10.0, 10)) == 3


def test_the_health_port_goes_before_the_port() -> None:
    assert target_of(agent(port=1, health_port=2), "10.0.0.1") == ProbeTarget("Old", "10.0.0.1", 2)
    assert target_of(agent(port=1), "") == ProbeTarget("Old", "127.0.0.1", 1)
    assert target_of(agent(), "") is None


async def test_probes_run_side_by_side_within_the_limit() -> None:
    class Slow:
        running = most = 0

        async def probe(self, host: str, port: int, timeout_s: float) -> ProbeOutcome:
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0)
            self.running -= 1
            return ProbeOutcome(port % 2 == 0, "odd")

    prober = Slow()
    targets = [ProbeTarget(f"A{port}", "h", port) for port in range(20)]
    outcomes = await probe_all(prober, targets, concurrency=4, timeout_s=1.0)
    assert prober.most == 4
    assert [name for name, outcome in outcomes.items() if outcome.is_answering] == [
        f"A{port}" for port in range(0, 20, 2)
    ]


async def test_a_listening_socket_answers() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await TcpProber().probe("127.0.0.1", port, 5.0) == ProbeOutcome(True)
    outcome = await TcpProber().probe("127.0.0.1", port, 5.0)
    assert not outcome.is_answering
    assert outcome.reason.startswith(f"127.0.0.1:{port}: ")


async def test_a_name_that_cannot_be_looked_up_is_an_outcome_and_no_error() -> None:
    outcome = await TcpProber().probe("a" * 70 + ".invalid", 1, 5.0)
    assert not outcome.is_answering


async def test_a_probe_gives_up_in_time() -> None:
    outcome = await TcpProber().probe("127.0.0.1", 1, 0.0)
    assert outcome == ProbeOutcome(False, "127.0.0.1:1 did not answer within 0 s")
