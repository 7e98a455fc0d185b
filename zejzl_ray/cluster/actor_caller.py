"""Calls operations over actor handles: the only place with ``.remote`` for service operations."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import (
    PendingCallsLimitExceeded,
    RayError,
    RayTaskError,
)
from tenacity import AsyncRetrying, retry_if_exception_type, stop_never, wait_exponential_jitter

from zejzl_ray.cluster.names import NAMESPACE
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import DeadlineExceeded, Overloaded, ServiceUnavailable, TimedOut, ZejzlError

LOOK_UP_TIMEOUT_S = 5.0
_BACKOFF = wait_exponential_jitter(multiplier=0.05, max=1.0, jitter=0.05)


class ActorCaller:
    """A ``Caller`` over named actors of one namespace; needs a process that is connected to the cluster.

    A service that is being restarted is waited for, within the time limit, when the operation is repeatable.
    Handles are looked up once and again after the actor was lost.

    Args:
        namespace: Ray namespace of the named actors.
        timeout_s: limit of a call whose context has no deadline.
        find: takes service and namespace and returns the actor's handle, or raises ValueError; it may block, and
            is called in a thread.
        look_up_timeout_s: how long one look-up is waited for.
    """

    def __init__(
        self,
        namespace: str = NAMESPACE,
        *,
        timeout_s: float = 30.0,
        find: Callable[[str, str], Any] | None = None,
        look_up_timeout_s: float = LOOK_UP_TIMEOUT_S,
    ) -> None:
        self._namespace = namespace
        self._timeout_s = timeout_s
        self._find = find or _named_actor
        self._look_up_timeout_s = look_up_timeout_s
        # service name -> the look-up that is under way; at most one a service, so that an absent control store
        # holds one thread and not all of them
        self._looking_up: dict[str, asyncio.Task[Any]] = {}
        # service name -> actor handle; at most one entry a service
        self._handles: dict[str, Any] = {}
        # service name -> what Ray said when it went away; until it answers again. A call to a service that is being
        # restarted just waits, and only calls that were under way hear of its end.
        self._away: dict[str, str] = {}

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        """Run the operation in the service's process and return its reply.

        Raises:
            ServiceUnavailable: no such actor, or it stayed away for the whole time.
            Overloaded: too many calls wait for the service.
            DeadlineExceeded: no answer in time; the command may still take effect.
            ZejzlError: whatever the service raised.
        """
        limit_s = self._timeout_s + float(getattr(request, "timeout_s", None) or 0.0)
        if call.deadline_at_s is not None:
            limit_s = min(limit_s, call.deadline_at_s - time.time())
        if limit_s <= 0:
            raise DeadlineExceeded(f"{operation.service}.{operation.name}: the deadline has passed.")
        away: ServiceUnavailable | None = None  # what the last attempt that ended has said
        is_waiting = False  # for an answer, not for the next attempt
        try:
            async with asyncio.timeout(limit_s):
                try:
                    return await self._once(operation, request, call)
                except ServiceUnavailable as error:
                    if not operation.is_repeatable:
                        raise
                    away = error
                # The time limit around it ends the loop.
                async for attempt in AsyncRetrying(
                    retry=retry_if_exception_type(ServiceUnavailable),
                    wait=_BACKOFF,
                    stop=stop_never,
                    reraise=True,
                ):
                    is_waiting = True
                    with attempt:
                        try:
                            return await self._once(operation, request, call)
                        except ServiceUnavailable as error:
                            away = error
                            is_waiting = False
                            raise
        except TimedOut:  # the answer itself, and not that none came
            raise
        except TimeoutError:
            if away is not None and not is_waiting:
                raise away from None
            repeat = "It may still take effect; repeat it with the same request id."
            if operation.service in self._away:  # the one that waits has asked a service that is not back yet
                raise ServiceUnavailable(
                    f"{self._away[operation.service]} It has not come back within {limit_s:.1f} s.", repeat
                ) from None
            raise DeadlineExceeded(
                f"{operation.service}.{operation.name} did not answer within {limit_s:.1f} s.", repeat
            ) from None
        raise AssertionError("unreachable: the retry loop returns or raises")

    async def _once(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        handle = self._handles.get(operation.service) or await self._look_up(operation.service)
        method = getattr(handle, operation.name, None)
        if method is None:
            raise ZejzlError(
                f"{operation.service} has no operation {operation.name}.",
                "Do all machines have the same version of zejzl-ray?",
            )
        try:
            reply: Contract = await method.remote(request, call)
        except RayTaskError as error:
            self._away.pop(operation.service, None)
            raise own_error(error, operation.service) from None
        except PendingCallsLimitExceeded:
            raise Overloaded(f"Too many calls wait for {operation.service}.", "Try again later.") from None
        except RayError as error:
            self._handles.pop(operation.service, None)
            reason = self._away[operation.service] = f"{operation.service} is away ({type(error).__name__})."
            raise ServiceUnavailable(reason, "It is being restarted; try again.") from None
        self._away.pop(operation.service, None)
        return reply

    async def _look_up(self, service: str) -> Any:
        task = self._looking_up.get(service)
        if task is None or task.done():
            task = asyncio.create_task(asyncio.to_thread(self._find, service, self._namespace))
            task.add_done_callback(_retrieve)
            self._looking_up[service] = task
        try:
            handle = await asyncio.wait_for(asyncio.shield(task), self._look_up_timeout_s)
        except ValueError:
            raise ServiceUnavailable(
                f"No actor {service!r} in namespace {self._namespace!r}.",
                "Is the cluster up? See `zejzl status`.",
            ) from None
        except (TimeoutError, RayError):
            raise ServiceUnavailable(
                f"Ray does not say where {service!r} is.", "Its control store may be away; try again."
            ) from None
        self._handles[service] = handle
        return handle

    async def close(self) -> None:
        """Forget the handles; the actors go on."""
        self._handles.clear()


def _named_actor(service: str, namespace: str) -> Any:
    """Return the handle; blocks while Ray's control store is away."""
    if not ray.is_initialized():  # Ray would start a cluster of its own here
        raise ServiceUnavailable("This process is not connected to Ray.", "Call ray.init(address=...) first.")
    return ray.get_actor(service, namespace)


def _retrieve(look_up: "asyncio.Task[Any]") -> None:
    if not look_up.cancelled():
        look_up.exception()  # nobody may wait for it any more


def own_error(error: RayTaskError, service: str) -> ZejzlError:
    """Return the exception that a service raised; an internal error in place of a foreign one."""
    cause = error.cause
    if isinstance(cause, ZejzlError):
        return cause
    return ZejzlError(f"Internal error in {service} ({type(cause).__name__}).", "Its log has the details.")
