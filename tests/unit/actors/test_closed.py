from typing import Any

import pytest
import structlog

from actors.closed import closed
from actors.core_orchestrator import CoreOrchestratorActor
from zejzl_ray.contracts.access import AuthenticatedCall, Principal
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.life import Stopped, StopService
from zejzl_ray.contracts.logs import LogPage, ReadLogs
from zejzl_ray.contracts.machines import GetSnapshot, MachineSnapshot
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import InvalidInput, Unauthenticated

ADA = Principal(subject="user:ada", grants=("*:*:*",))


class Door:
    """Admits ada, or nobody."""

    def __init__(self, *, is_open: bool) -> None:
        self.is_open = is_open
        self.asked: list[str] = []

    async def admit(self, operation: Operation, request: Contract, call: CallContext) -> AuthenticatedCall:
        self.asked.append(operation.key)
        if not self.is_open:
            raise Unauthenticated("no token")
        return AuthenticatedCall(principal=ADA)


@closed("node_agent")
class Agent:
    def __init__(self, *, is_open: bool) -> None:
        self._security = Door(is_open=is_open)
        self.calls: list[CallContext] = []

    async def snapshot(self, request: GetSnapshot, call: CallContext) -> MachineSnapshot:
        self.calls.append(call)
        raise NotImplementedError

    async def health(self, request: GetHealth, call: CallContext) -> ServiceHealth:
        """Say how it is."""
        self.calls.append(call)
        return ServiceHealth(service="node_agent", is_ready=True)

    async def read_logs(self, request: ReadLogs, call: CallContext) -> LogPage:
        """Say which request the lines of this call carry."""
        bound = structlog.contextvars.get_contextvars()
        return LogPage(lines=(), cursor=f"{bound['request_id']} {bound['caused_by']}")

    async def stop(self, request: StopService, call: CallContext) -> Stopped:
        self.calls.append(call)
        return Stopped()


async def test_a_method_runs_with_the_caller_that_the_door_has_proved() -> None:
    agent = Agent(is_open=True)
    # what the caller says of itself counts for nothing
    forged = AuthenticatedCall(principal=Principal(subject="user:mallory"))
    assert (await agent.health(GetHealth(), forged)).is_ready
    (call,) = agent.calls
    assert isinstance(call, AuthenticatedCall)
    assert call.principal == ADA
    assert agent._security.asked == ["node_agent.health"]


async def test_lines_inside_of_a_call_carry_its_request_and_its_cause() -> None:
    agent = Agent(is_open=True)
    page = await agent.read_logs(ReadLogs(), CallContext(request_id="r-2", caused_by="r-1"))
    assert page.cursor == "r-2 r-1"
    assert structlog.contextvars.get_contextvars() == {}


async def test_nothing_is_done_for_a_caller_that_is_not_admitted() -> None:
    agent = Agent(is_open=False)
    calls: tuple[tuple[Any, Any], ...] = (
        (agent.snapshot, GetSnapshot()),
        (agent.health, GetHealth()),
        (agent.stop, StopService()),
    )
    for method, request in calls:
        with pytest.raises(Unauthenticated):
            await method(request, CallContext())
    assert agent.calls == []


@pytest.mark.parametrize(
    ("request_", "call"),
    [(StopService(), CallContext()), (GetHealth(), None), (None, CallContext()), ("x", "y")],
)
async def test_anything_but_the_declared_request_is_refused_before_the_door(
    request_: object, call: object
) -> None:
    agent = Agent(is_open=True)
    with pytest.raises(InvalidInput, match=r"node_agent\.health takes a GetHealth"):
        await agent.health(request_, call)  # type: ignore[arg-type]
    assert agent._security.asked == []


def test_a_method_keeps_its_name_and_text() -> None:
    assert Agent.health.__doc__ == "Say how it is."
    assert Agent.health.__name__ == "health"


def test_a_method_without_an_operation_fails_at_start() -> None:
    class Leaky(Agent):
        async def dump(self) -> str:
            return "everything"

    with pytest.raises(TypeError, match="methods without a declared operation: dump"):
        closed("node_agent")(Leaky)


def test_a_hidden_method_fails_too_because_ray_lets_anybody_call_it() -> None:
    class Leaky(Agent):
        def _dump(self) -> str:
            return "everything"

    with pytest.raises(TypeError, match="methods without a declared operation: _dump"):
        closed("node_agent")(Leaky)


def test_an_operation_without_a_method_fails_at_start() -> None:
    class Mute:
        async def health(self, request: GetHealth, call: CallContext) -> ServiceHealth:
            raise NotImplementedError

    with pytest.raises(TypeError, match="operations without a method: read_logs, snapshot, stop"):
        closed("node_agent")(Mute)


def test_the_shells_are_closed() -> None:
    assert CoreOrchestratorActor.get_agent.__wrapped__ is not CoreOrchestratorActor.get_agent  # type: ignore[attr-defined]
