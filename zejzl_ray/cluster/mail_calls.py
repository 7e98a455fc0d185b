"""Brings batches to other hosts over gRPC, from process to process."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

import grpc
from pydantic import ValidationError

from zejzl_ray.cluster.mail_channel import (
    AUTHORIZATION_KEY,
    BEARER,
    CONNECTION_KEY,
    LIMITS,
    METHOD_PATH,
    MailTls,
)
from zejzl_ray.contracts.agent_host import DeliverMail, MailDelivered
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.problems import Problem, error_of
from zejzl_ray.errors import DeadlineExceeded, Overloaded, ServiceUnavailable, ZejzlError

_OPTIONS: Final = (
    *LIMITS,
    ("grpc.enable_retries", 0),  # a batch that may have arrived is not sent again by itself
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class _Way:
    address: str
    channel: Any
    method: Any


class MailCalls:
    """A ``Caller`` of ``deliver_mail`` alone, for hosts whose address it was told; needs a running event loop.

    Args:
        timeout_s: limit of a call whose context has no deadline.
        tls: as at the door of the others.
    """

    def __init__(self, *, timeout_s: float, tls: MailTls | None = None) -> None:
        self._timeout_s = timeout_s
        self._tls = tls
        self._ways: dict[str, _Way] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def lead(self, actor: str, address: str) -> None:
        """Have calls to a host go to an address, ``host:port``; costs nothing where they do."""
        way = self._ways.get(actor)
        if way is not None and way.address == address:
            return
        self.forget(actor)
        if self._tls is None:
            channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        else:
            credentials = grpc.ssl_channel_credentials(
                self._tls.authority, self._tls.key, self._tls.certificate
            )
            channel = grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
        self._ways[actor] = _Way(address, channel, channel.unary_unary(METHOD_PATH))

    def forget(self, actor: str) -> None:
        """Close the way to a host; safe to repeat."""
        way = self._ways.pop(actor, None)
        if way is not None:
            task = asyncio.ensure_future(
                way.channel.close(self._timeout_s)
            )  # what is under way goes on till then
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        """Bring a batch and return what became of it.

        Raises:
            ServiceUnavailable: the host is gone, or its port cannot be reached.
            DeadlineExceeded: no answer in time; it may have arrived.
            ZejzlError: what the host raised.
        """
        way = self._ways.get(operation.service)
        if way is None or not isinstance(request, DeliverMail):
            raise ServiceUnavailable(f"There is no direct way to {operation.service}.")
        limit_s = self._timeout_s
        if call.deadline_at_s is not None:
            limit_s = min(limit_s, call.deadline_at_s - time.time())
        metadata = [(CONNECTION_KEY, request.connection)]
        if call.token is not None:
            metadata.append((AUTHORIZATION_KEY, BEARER + call.token.get_secret_value()))
        try:
            frame = await way.method(request.frame, timeout=limit_s, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise _own_error(error, operation.service, way.address, limit_s) from None
        except (
            asyncio.CancelledError,
            grpc.aio.UsageError,
        ):  # gRPC tells both ways that the channel was closed
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise ServiceUnavailable(f"The way to {operation.service} was closed.") from None
        return MailDelivered(frame=frame)

    async def close(self) -> None:
        """Close all ways; safe to repeat."""
        for actor in tuple(self._ways):
            self.forget(actor)
        if self._closing:
            await asyncio.wait(self._closing, timeout=2)


def _own_error(error: Any, actor: str, address: str, limit_s: float) -> ZejzlError:
    """Return what the host raised, or what gRPC itself says."""
    details, code = error.details() or "", error.code()
    try:
        return error_of(Problem.model_validate_json(details))
    except ValidationError:
        pass
    if code is grpc.StatusCode.UNAVAILABLE:
        return ServiceUnavailable(
            f"{actor} is away: {address} cannot be reached.", "Does a firewall keep the ports of mail closed?"
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"{actor} did not answer within {limit_s:.1f} s.", "It may have arrived.")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Overloaded(f"Too many calls wait for {actor}.", "Try again later.")
    return ZejzlError(
        f"{actor} at {address} answers with {code.name}.",
        "Do all machines have the same version of zejzl-ray?",
    )
