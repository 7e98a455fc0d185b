"""Closed by default: every request but those to public operations proves who is calling before anything else."""

from collections.abc import Collection, Mapping
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_apps.door import Door
from serve_apps.middleware.request_scope import RequestScope, request_scope_of
from zejzl_ray.auth.signed_requests import SCHEME, read_header, request_id_of
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import ServiceUnavailable

LIVENESS: Final = "/healthz"
_SIGNED: Final = SCHEME.lower().encode() + b" "
_READING: Final = {"HEAD": "GET"}


def public_routes(operations: Collection[Operation]) -> Mapping[str, frozenset[str]]:
    """Return path -> methods of what anybody may call; none of them has a field in its path."""
    found: dict[str, set[str]] = {LIVENESS: {"GET"}}
    for operation in operations:
        if operation.is_public and operation.path:
            found.setdefault(operation.path, set()).add(operation.verb)
    return {path: frozenset(methods) for path, methods in found.items()}


class AuthenticationMiddleware:
    """Lets a request pass when its address may come in and its token counts, or when its route is public.

    What the token allows is checked where the work is done: in the service, and here for what the ingress answers by
    itself. A signed request is read whole, at most as long as bodies may be, and its signature is exchanged for a
    token; its request id follows from the nonce, so that a repetition gets the stored answer.

    Args:
        app: the rest of the application.
        door: decides.
        public: path -> methods that want no token.
    """

    def __init__(self, app: ASGIApp, door: Door, public: Mapping[str, frozenset[str]]) -> None:
        self._app = app
        self._door = door
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check who is calling, then run the rest of the application."""
        if scope["type"] == "websocket":
            # there are no websocket routes; close without looking further
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            request = request_scope_of(scope)
            if scope["path"] != LIVENESS:
                self._door.enter(request.address)
            method = _READING.get(scope["method"], scope["method"])
            if method not in self._public.get(scope["path"], frozenset()):
                receive = await self._identify(request, scope, receive)
            request.forward = self._door.forwarded
        await self._app(scope, receive, send)

    async def _identify(self, request: RequestScope, scope: Scope, receive: Receive) -> Receive:
        """Set the request's token; return from where its body is to be read."""
        authorization = request.headers.get(b"authorization")
        if authorization is None or not authorization.lower().startswith(_SIGNED):
            request.token = await self._door.identify(authorization, request.address, request.request_id)
            return receive
        body = b"" if scope["method"] in {"GET", "HEAD"} else await _whole_body(receive)
        query: bytes = scope["query_string"]
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        target = raw_path.partition(b"?")[0] + (b"?" + query if query else b"")
        grant = read_header(authorization.decode("latin-1"), scope["method"], target.decode("latin-1"), body)
        request.token = await self._door.exchange(grant, request.address)
        request.request_id = request_id_of(grant)
        structlog.contextvars.bind_contextvars(request_id=request.request_id)  # until the request ends
        return _again(body, receive)


async def _whole_body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ServiceUnavailable(
                "The client went away before the whole body had arrived.", "Send the request again."
            )
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a channel that gives the body that was read already, and afterwards what comes."""
    is_given = False

    async def given() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return given
