"""Calls over actor handles: what is repeated, how long, and which error arrives."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    PendingCallsLimitExceeded,
    RaySystemError,
    RayTaskError,
)

from zejzl_ray.cluster.actor_caller import ActorCaller
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.services import BY_SERVICE, health_operation
from zejzl_ray.errors import (
    AgentNotFound,
    DeadlineExceeded,
    Overloaded,
    RequestTimedOut,
    ServiceUnavailable,
    ZejzlError,
)

HEALTH = health_operation("error_bus")
DELIVER = BY_SERVICE["agent_host"]["deliver_mail"]
ONCE = Operation(
    name="health",
    service="error_bus",
    request=GetHealth,
    reply=ServiceHealth,
    scope="error_bus:health:read",
    verb="POST",
    path="/x",
    is_repeatable=False,
)
REPLY = ServiceHealth(service="error_bus", is_ready=True)


class FakeMethod:
    """Stands for ``handle.health``: ``remote`` gives what the script says next."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.calls = 0

    def remote(self, request: GetHealth, call: CallContext) -> Awaitable[Any]:
        self.calls += 1
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, PendingCallsLimitExceeded):
            raise step

        async def answer() -> Any:
            if step == "hang":
                await asyncio.Event().wait()
            if isinstance(step, BaseException):
                raise step
            return step

        return answer()


class FakeHandle:
    def __init__(self, *script: Any) -> None:
        self.health = FakeMethod(*script)


class Finder:
    """Looks handles up; each look-up takes the next of its answers, the last for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []

    def __call__(self, service: str, namespace: str) -> Any:
        self.asked.append((service, namespace))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def raised(cause: Exception) -> RayTaskError:
    return RayTaskError("health", "traceback with secrets", cause)


async def call(caller: ActorCaller, operation: Operation = HEALTH, **context: Any) -> Any:
    return await asyncio.wait_for(caller.call(operation, GetHealth(), CallContext(**context)), 20)


async def test_the_reply_arrives_and_the_handle_is_kept_until_close() -> None:
    find = Finder(FakeHandle(REPLY))
    caller = ActorCaller("ns", find=find)
    assert await call(caller) == REPLY
    assert await call(caller) == REPLY
    assert find.asked == [("error_bus", "ns")]
    await caller.close()
    await call(caller)
    assert len(find.asked) == 2


async def test_the_services_own_error_arrives_as_it_was_raised() -> None:
    handle = FakeHandle(raised(AgentNotFound("No agent 'x'.", "Register it.")))
    with pytest.raises(AgentNotFound) as caught:
        await call(ActorCaller(find=Finder(handle)))
    assert (caught.value.message, caught.value.remedy) == ("No agent 'x'.", "Register it.")
    assert handle.health.calls == 1


async def test_a_time_out_that_the_service_reports_is_not_taken_for_no_answer() -> None:
    reported = RequestTimedOut("no reply from planner", details={"to_agent": "planner"})
    with pytest.raises(RequestTimedOut, match="no reply from planner") as info:
        await call(ActorCaller(find=Finder(FakeHandle(raised(reported)))))
    assert info.value.details == {"to_agent": "planner"}


async def test_a_foreign_error_shows_its_class_only() -> None:
    with pytest.raises(ZejzlError) as caught:
        await call(ActorCaller(find=Finder(FakeHandle(raised(KeyError("hunter2"))))))
    assert str(caught.value) == "Internal error in error_bus (KeyError). Its log has the details."


@pytest.mark.parametrize(
    "away",
    [
        ActorDiedError(),
        ActorUnavailableError("gone", None),
        RaySystemError("raylet"),
        raised(ServiceUnavailable("starting")),
    ],
)
async def test_a_repeatable_call_waits_for_a_service_that_is_away(away: Exception) -> None:
    handle = FakeHandle(away, away, REPLY)
    assert await call(ActorCaller(find=Finder(handle))) == REPLY
    assert handle.health.calls == 3


async def test_the_handle_of_a_lost_actor_is_forgotten() -> None:
    lost, found = FakeHandle(ActorDiedError()), FakeHandle(REPLY)
    find = Finder(lost, found)
    assert await call(ActorCaller(find=find)) == REPLY
    assert len(find.asked) == 2


async def test_a_call_that_must_not_be_repeated_is_made_once() -> None:
    handle = FakeHandle(ActorDiedError(), REPLY)
    with pytest.raises(ServiceUnavailable, match="ActorDiedError"):
        await call(ActorCaller(find=Finder(handle)), ONCE)
    assert handle.health.calls == 1


async def test_too_many_waiting_calls_are_not_made_more() -> None:
    handle = FakeHandle(PendingCallsLimitExceeded("full"))
    with pytest.raises(Overloaded):
        await call(ActorCaller(find=Finder(handle)))
    assert handle.health.calls == 1


async def test_a_service_that_does_not_know_the_operation_is_named() -> None:
    with pytest.raises(ZejzlError, match="error_bus has no operation health"):
        await call(ActorCaller(find=Finder(object())))


@pytest.mark.parametrize("operation", [HEALTH, ONCE])
async def test_no_answer_is_not_waited_for_longer_than_the_limit(operation: Operation) -> None:
    with pytest.raises(DeadlineExceeded, match="same request id"):
        await call(ActorCaller(find=Finder(FakeHandle("hang")), timeout_s=0.02), operation)


async def test_a_service_that_stays_away_is_said_to_be_away() -> None:
    with pytest.raises(ServiceUnavailable, match="is away"):
        await call(ActorCaller(find=Finder(FakeHandle(ActorDiedError())), timeout_s=0.5))


async def test_a_service_that_went_away_and_does_not_answer_afterwards_has_not_come_back() -> None:
    handle = FakeHandle(ActorDiedError(), "hang")
    with pytest.raises(ServiceUnavailable, match=r"error_bus is away .* has not come back within"):
        await call(ActorCaller(find=Finder(handle), timeout_s=0.3))


async def test_the_callers_deadline_counts() -> None:
    caller = ActorCaller(find=Finder(FakeHandle("hang")))
    with pytest.raises(DeadlineExceeded, match="did not answer"):
        await call(caller, deadline_at_s=time.time() + 0.05)
    with pytest.raises(DeadlineExceeded, match="has passed"):
        await call(caller, deadline_at_s=time.time() - 1)


async def test_a_missing_actor_is_named_with_its_namespace() -> None:
    with pytest.raises(ServiceUnavailable, match="No actor 'error_bus' in namespace 'ns'"):
        await call(ActorCaller("ns", find=Finder(ValueError("?"))), ONCE)


async def test_a_control_store_that_fails_is_not_called_a_missing_actor() -> None:
    with pytest.raises(ServiceUnavailable, match="does not say where"):
        await call(ActorCaller(find=Finder(RaySystemError("gcs"))), ONCE)


async def test_a_control_store_that_hangs_holds_one_thread_and_no_caller() -> None:
    go_on = threading.Event()
    asked: list[str] = []

    def find(service: str, namespace: str) -> Any:
        asked.append(service)
        go_on.wait(20)
        raise ValueError("?")

    caller = ActorCaller(find=find, look_up_timeout_s=0.01)
    try:
        for _ in range(5):
            with pytest.raises(ServiceUnavailable, match="does not say where"):
                await call(caller, ONCE)
        assert asked == ["error_bus"]
    finally:
        go_on.set()


async def test_a_process_outside_ray_is_told_so_and_starts_no_cluster() -> None:
    with pytest.raises(ServiceUnavailable, match="not connected to Ray"):
        await call(ActorCaller(), ONCE)


async def test_in_ray_the_actor_is_looked_up_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = FakeHandle(REPLY)
    named: Callable[[str, str], Any] = Finder(handle)
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.get_actor", named)
    assert await call(ActorCaller("ns")) == REPLY
