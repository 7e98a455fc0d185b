"""Where a host takes the batches of other hosts: a gRPC server with one method, as closed as the actor itself."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import grpc
from pydantic import SecretStr, ValidationError

from zejzl_ray.cluster.mail_channel import (
    AUTHORIZATION_KEY,
    BEARER,
    CONNECTION_KEY,
    LIMITS,
    METHOD,
    SERVICE_NAME,
    MailTls,
)
from zejzl_ray.contracts.agent_host import DeliverMail, MailDelivered
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.problems import problem_of, wire_status
from zejzl_ray.errors import InvalidInput, ServiceUnavailable, ZejzlError
from zejzl_ray.log import get_logger

_NO_CONNECTION: Final = "-"  # who shows none is refused all the same after his token was looked at
_AT_ONCE: Final = 1000  # calls; more are told that there are too many
_CLOSE_S: Final = 1.0
_STATUS_OF: Final = {status.value[0]: status for status in grpc.StatusCode}
_log = get_logger("agent_host")

Deliver = Callable[[DeliverMail, CallContext], Awaitable[MailDelivered]]


class MailDoor:
    """Listens from ``start`` until ``close``.

    Args:
        host: address of this machine, on which it listens.
        ports: those that it may take, the first free one; none: any free one.
        deliver: what a batch is given to; it checks who brings it.
        tls: None listens without TLS, on one machine.

    Attributes:
        address: ``host:port`` for others; empty while nobody listens.
    """

    def __init__(
        self, host: str, ports: Iterable[int], deliver: Deliver, *, tls: MailTls | None = None
    ) -> None:
        self.address = ""
        self._host = f"[{host}]" if ":" in host else host
        self._ports = tuple(ports)
        self._deliver = deliver
        self._tls = tls
        self._server: grpc.aio.Server | None = None
        self._under_way: set[asyncio.Task[MailDelivered]] = set()

    async def start(self) -> None:
        """Begin to listen and to answer; once.

        Raises:
            ServiceUnavailable: none of the ports is free.
        """
        # Linux would let two hosts share one port, each with half of the calls.
        options = (*LIMITS, ("grpc.so_reuseport", 0))
        server = self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=_AT_ONCE)
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._take)
        handler = grpc.method_handlers_generic_handler(SERVICE_NAME, {METHOD: method})
        server.add_generic_rpc_handlers((handler,))
        port = next(filter(None, (self._bound(server, port) for port in self._ports or (0,))), 0)
        if not port:
            which = f"ports {self._ports[0]} to {self._ports[-1]}" if self._ports else "any port"
            raise ServiceUnavailable(
                f"Mail cannot come in: none of {which} of {self._host} is free.",
                "Set ZEJZL_MAIL_PORTS to more or other ports.",
            )
        await server.start()
        self.address = f"{self._host}:{port}"

    async def close(self) -> None:
        """Take no more, after a second for what is under way; safe to repeat."""
        self.address = ""
        if self._server is not None:
            await self._server.stop(_CLOSE_S)

    def _bound(self, server: grpc.aio.Server, port: int) -> int:
        """Take a port; return it, or 0 when somebody else has it."""
        address = f"{self._host}:{port}"
        try:
            if self._tls is None:
                return server.add_insecure_port(address)
            pairs = [(self._tls.key, self._tls.certificate)]
            credentials = grpc.ssl_server_credentials(pairs, self._tls.authority, require_client_auth=True)
            return server.add_secure_port(address, credentials)
        except RuntimeError:
            return 0

    async def _take(self, frame: bytes, context: Any) -> bytes:
        metadata = dict(context.invocation_metadata())
        authorization = metadata.get(AUTHORIZATION_KEY, "")
        token = authorization.removeprefix(BEARER) if authorization.startswith(BEARER) else ""
        connection = metadata.get(CONNECTION_KEY, _NO_CONNECTION)
        try:
            request = DeliverMail(connection=connection, frame=frame)
        except ValidationError:  # nothing of it is shown: it has not been looked at who sends it
            wrong = InvalidInput("A batch or the name of its connection is empty or too long.")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, problem_of(wrong).model_dump_json())
        call = CallContext(token=SecretStr(token) if token else None)
        # A caller that gives up leaves no batch half put into mailboxes.
        task = asyncio.ensure_future(self._deliver(request, call))
        self._under_way.add(task)
        task.add_done_callback(self._done)
        try:
            return (await asyncio.shield(task)).frame
        except ZejzlError as error:
            status = _STATUS_OF[wire_status(error).grpc]
            await context.abort(status, problem_of(error).model_dump_json())
        except Exception as error:
            _log.exception("a batch of mail met a failure")
            internal = ZejzlError(
                f"Internal error in the host ({type(error).__name__}).", "Its log has the details."
            )
            await context.abort(grpc.StatusCode.INTERNAL, problem_of(internal).model_dump_json())
        raise AssertionError("unreachable: abort raises")

    def _done(self, task: "asyncio.Task[MailDelivered]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may wait for it any more
