"""An endpoint is an ASGI callable that runs one operation; this one asks the service."""

from collections.abc import Callable
from typing import Protocol

from starlette.types import Receive, Scope, Send

from serve_apps.answer import Header, send_json
from serve_apps.config import IngressConfig
from serve_apps.middleware.request_scope import request_scope_of
from serve_apps.request_parsing import build_request, has_body, parse_body, parse_query
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.operation import Operation

REVISION_HEADER = b"x-registry-revision"


class Endpoint(Protocol):
    """Answers requests of one route; raises what ``ErrorsMiddleware`` answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        ...


class CallEndpoint:
    """Runs an operation in its service: one request in, one call, one answer out.

    Args:
        operation: what is run.
        caller: reaches the service.
        clock: where deadlines are read.
        config: limits.
        locate: of a service with several actors, returns the operation of the one that a request is for, or raises.
    """

    def __init__(
        self,
        operation: Operation,
        caller: Caller,
        clock: Clock,
        config: IngressConfig,
        locate: Callable[[Contract], Operation] | None = None,
    ) -> None:
        self._locate = locate
        self._operation = operation
        self._caller = caller
        self._clock = clock
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        operation, config = self._operation, self._config
        request = request_scope_of(scope)
        context = await request.forward_context(self._clock, config.default_timeout_s, config.max_timeout_s)
        body = await parse_body(request, receive, config.max_json_depth) if has_body(operation) else {}
        model = build_request(operation, scope["path_params"], parse_query(scope), body, request.request_id)
        target = operation if self._locate is None else self._locate(model)
        reply = await self._caller.call(target, model, context)
        revision = getattr(reply, "revision", None)
        headers: tuple[Header, ...] = () if revision is None else ((REVISION_HEADER, b"%d" % revision),)
        await send_json(send, operation.status, reply.model_dump_json().encode(), headers)
