"""The typed client sends each request to its operation, and checks what comes back."""

from typing import Any

import pytest

from zejzl_ray.cluster.core_orchestrator import CoreOrchestratorClient
from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.services import BY_SERVICE

METHODS = {"registry_status": "get_registry_status"}


class FakeCaller:
    """Answers with an instance of the operation's reply, or with what the test has set."""

    def __init__(self) -> None:
        self.seen: list[tuple[Operation, Contract, CallContext]] = []
        self.answer: Contract | None = None

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        self.seen.append((operation, request, call))
        return self.answer or operation.reply.model_construct()

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    "method",
    [
        "register_agent",
        "register_agents",
        "get_agent",
        "heartbeat",
        "update_agent",
        "list_agents",
        "declare_fleet",
        "report_machine",
        "list_machines",
        "registry_status",
        "health",
    ],
)
async def test_a_method_is_its_operation(method: str) -> None:
    caller = FakeCaller()
    name = METHODS.get(method, method)
    operation = BY_SERVICE[wire.SERVICE][name]
    request: Any = operation.request.model_construct()
    context = CallContext(request_id="r-1")
    reply = await getattr(CoreOrchestratorClient(caller), method)(request, context)
    assert isinstance(reply, operation.reply)
    assert caller.seen == [(operation, request, context)]


async def test_without_a_context_there_is_a_new_one() -> None:
    caller = FakeCaller()
    client = CoreOrchestratorClient(caller)
    await client.health(GetHealth())
    await client.health(GetHealth())
    first, second = (call.request_id for _, _, call in caller.seen)
    assert first != second


async def test_an_answer_of_another_kind_is_refused() -> None:
    caller = FakeCaller()
    caller.answer = ServiceHealth(service="x", is_ready=True)
    with pytest.raises(TypeError, match="list_machines answered ServiceHealth, not MachineList"):
        await CoreOrchestratorClient(caller).list_machines(wire.ListMachines())
