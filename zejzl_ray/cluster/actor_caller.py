"""Calls operations over actor handles: the only place with ``.remote`` for service operations."""

import asyncio
import time
from typing import Any

import ray
import stamina
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    GetTimeoutError,
    RayActorError,
    RayTaskError,
)

from zejzl_ray.cluster.names import NAMESPACE
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import DeadlineExceeded, Overloaded, ServiceUnavailable, ZejzlError

LOOK_UP_TIMEOUT_S = 5.0
# Waits the client side adds to the deadline of a long poll, so that the service's own empty answer arrives first.
_GRACE_S = 5.0


class ActorCaller:
    """A ``Caller`` over named actors of one namespace; needs a process that is connected to the cluster.

    A service that is being restarted is waited for, within the time limit, when the operation is repeatable. Handles
    are looked up once and again after the actor was lost.

    Args:
        namespace: Ray namespace of the named actors.
        timeout_s: limit of a call whose context has no deadline.
    """

    def __init__(self, namespace: str = NAMESPACE, *, timeout_s: float = 30.0) -> None:
        self._namespace = namespace
        self._timeout_s = timeout_s
        # service name -> actor handle; at most one entry a service
        self._handles: dict[str, Any] = {}

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        """Run the operation in the service's process and return its reply.

        Raises:
            ServiceUnavailable: no such actor, or it stayed away for the whole time.
            DeadlineExceeded: no answer in time; the command may still take effect.
            ZejzlError: whatever the service raised.
        """
        limit_s = self._timeout_s + float(getattr(request, "timeout_s", None) or 0.0)
        if call.deadline_at_s is not None:
            limit_s = min(limit_s, call.deadline_at_s - time.time())
        if limit_s <= 0:
            raise DeadlineExceeded(f"{operation.service}.{operation.name}: the deadline has passed.")
        try:
            async with asyncio.timeout(limit_s):
                if not operation.is_repeatable:
                    return await self._once(operation, request, call)
                # No attempt limit: the time limit around it ends the loop.
                async for attempt in stamina.retry_context(
                    on=_may_retry, attempts=None, timeout=limit_s, wait_initial=0.05, wait_max=1.0, wait_jitter=0.05
                ):
                    with attempt:
                        return await self._once(operation, request, call)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{operation.service}.{operation.name} did not answer within {limit_s:.1f} s.",
                "It may still take effect; repeat it with the same request id.",
            ) from None
        raise AssertionError("unreachable: the retry loop returns or raises")

    async def _once(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        handle = self._handles.get(operation.service) or await self._look_up(operation.service)
        try:
            reply: Contract = await getattr(handle, operation.name).remote(request, call)
        except RayTaskError as error:
            raise own_error(error, operation.service) from None
        except (ActorDiedError, ActorUnavailableError, ActorUnschedulableError, RayActorError) as error:
            self._handles.pop(operation.service, None)
            raise ServiceUnavailable(
                f"{operation.service} is away ({type(error).__name__}).", "It is being restarted; try again."
            ) from None
        return reply

    async def _look_up(self, service: str) -> Any:
        try:
            # get_actor blocks while Ray's control store is away
            handle = await asyncio.wait_for(
                asyncio.to_thread(ray.get_actor, service, self._namespace), LOOK_UP_TIMEOUT_S
            )
        except (ValueError, GetTimeoutError, TimeoutError):
            raise ServiceUnavailable(
                f"No actor {service!r} in namespace {self._namespace!r}.", "Is the cluster up? See `zejzl status`."
            ) from None
        self._handles[service] = handle
        return handle

    async def close(self) -> None:
        """Forget the handles; the actors go on."""
        self._handles.clear()


def _may_retry(error: Exception) -> bool:
    return isinstance(error, ServiceUnavailable) and not isinstance(error, Overloaded)


def own_error(error: RayTaskError, service: str) -> ZejzlError:
    """Return the project's exception that a service raised, or an internal error that hides foreign details."""
    cause = error.cause
    if isinstance(cause, ZejzlError):
        return cause
    return ZejzlError(f"Internal error in {service} ({type(cause).__name__}).", "Its log has the details.")
