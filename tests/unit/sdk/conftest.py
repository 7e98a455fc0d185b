"""A scripted ``Caller`` and a few records, for the tests of the SDK."""

from collections.abc import Callable
from typing import Any

import pytest

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import Agent, AgentEvent, AgentKind, AgentState
from zejzl_ray.sdk.patience import Patience
from zejzl_ray.testing import ManualClock

Answer = Contract | Exception | Callable[[Any], Contract]


class ScriptedCaller:
    """Answers each operation from its own list, the last entry for ever; keeps what was asked."""

    def __init__(self) -> None:
        self._answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, Any, CallContext]] = []
        self.closed = 0

    def on(self, operation: str, *answers: Answer) -> None:
        self._answers[operation] = list(answers)

    def requests(self, operation: str) -> list[Any]:
        return [request for name, request, _ in self.asked if name == operation]

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        self.asked.append((operation.name, request, call))
        answers = self._answers[operation.name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Contract) else answer(request)

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def patience() -> Patience:
    """Try at once, at most four times; a pause that would be too long still ends the tries."""

    async def no_sleep(_: float) -> None: ...

    return Patience(attempts=4, sleep=no_sleep)


@pytest.fixture
def caller() -> ScriptedCaller:
    return ScriptedCaller()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make_agent() -> Callable[..., Agent]:
    def make(name: str = "Scout", revision: int = 1, **fields: Any) -> Agent:
        known = {
            "kind": AgentKind.EXTERNAL,
            "host": "127.0.0.1",
            "state": AgentState.HEALTHY,
            "state_since_s": 100.0,
            "registered_at_s": 100.0,
        }
        return Agent.model_validate({**known, "name": name, "revision": revision, **fields})

    return make


@pytest.fixture
def make_event(make_agent: Callable[..., Agent]) -> Callable[..., AgentEvent]:
    def make(name: str, revision: int, kind: str = "agent_updated") -> AgentEvent:
        agent = None if kind == "agent_deregistered" else make_agent(name, revision)
        fields = {"kind": kind, "name": name, "revision": revision, "at_s": 100.0, "agent": agent}
        return AgentEvent.model_validate(fields)

    return make
