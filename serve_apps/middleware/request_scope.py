"""Who asks, under which request id: read once from the headers, kept beside the ASGI scope."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zejzl_ray.clock import Clock
from zejzl_ray.contracts.call import REQUEST_ID_PATTERN, TRACEPARENT_PATTERN, CallContext, Forwarded
from zejzl_ray.errors import InvalidInput
from zejzl_ray.ids import new_id
from zejzl_ray.log import bind_call

_SCOPE_KEY: Final = "zejzl.request"
_REQUEST_ID = re.compile(REQUEST_ID_PATTERN.encode())
_TRACEPARENT = re.compile(TRACEPARENT_PATTERN.encode())
_MAX_ADDRESS: Final = 64
TIMEOUT_HEADER: Final = "X-Request-Timeout-S"


@dataclass(slots=True)
class RequestScope:
    """One request, as far as it does not depend on the route.

    Attributes:
        headers: lower case name -> value; of a repeated header the last one.
        address: of the caller, as the proxy saw it; empty when it is not known.
        token: proof of who is calling, set by the authentication; never printed.
        forward: makes what tells a service where the request came from.
        status: HTTP status once the answer has begun, else 0.
    """

    headers: dict[bytes, bytes]
    request_id: str
    traceparent: str | None
    address: str = ""
    token: str | None = field(default=None, repr=False)
    forward: Callable[[str], Awaitable[Forwarded | None]] | None = field(default=None, repr=False)
    status: int = 0

    @property
    def caused_by(self) -> str:
        """Request id of the call that led to this one; empty when there is none in the right form."""
        given = self.headers.get(b"x-caused-by", b"")
        return given.decode("ascii") if _REQUEST_ID.fullmatch(given) else ""

    def call_context(
        self, clock: Clock, default_timeout_s: float = 30.0, max_timeout_s: float = 120.0
    ) -> CallContext:
        """Return what travels with the operation into the service.

        Raises:
            InvalidInput: the time limit header is not a number in its range.
        """
        timeout_s = default_timeout_s
        given = self.headers.get(b"x-request-timeout-s")
        if given is not None:
            timeout_s = _timeout_s(given, max_timeout_s)
        return CallContext(
            token=None if self.token is None else SecretStr(self.token),
            request_id=self.request_id,
            caused_by=self.caused_by,
            traceparent=self.traceparent,
            deadline_at_s=clock.now_s() + timeout_s,
        )

    async def forward_context(
        self, clock: Clock, default_timeout_s: float, max_timeout_s: float
    ) -> CallContext:
        """Return ``call_context`` with what tells a service where the request came from.

        Raises:
            InvalidInput: as ``call_context``.
            ServiceUnavailable: the door has no proof of its own, since the gateway is away.
        """
        context = self.call_context(clock, default_timeout_s, max_timeout_s)
        forwarded = None if self.forward is None else await self.forward(self.address)
        return context if forwarded is None else context.model_copy(update={"forwarded": forwarded})


def _timeout_s(given: bytes, max_timeout_s: float) -> float:
    try:
        timeout_s = float(given)
    except ValueError:
        timeout_s = -1.0
    if not 0 < timeout_s <= max_timeout_s:
        raise InvalidInput(
            f"header.{TIMEOUT_HEADER}: not a number of seconds above 0 and up to {max_timeout_s:g}.",
            "Correct the header or leave it out.",
        )
    return timeout_s


def _address(scope: Scope, headers: dict[bytes, bytes]) -> str:
    """Return the caller's address.

    The proxy writes the header anew, whatever came in, and is the only one that reaches this process.
    """
    given = headers.get(b"x-forwarded-for", b"").decode("latin-1").strip()
    if not given and scope.get("client"):
        given = str(scope["client"][0])
    return given if 0 < len(given) <= _MAX_ADDRESS else ""


def request_scope_of(scope: Scope) -> RequestScope:
    """Return the request of an ASGI scope that has passed ``RequestScopeMiddleware``."""
    request: RequestScope = scope[_SCOPE_KEY]
    return request


class RequestScopeMiddleware:
    """Gives every request an id and echoes it; one in the wrong form is replaced, not refused.

    Args:
        app: the rest of the application.
        notice: a header that every answer gets, such as that nobody is asked for a token; empty for none.
    """

    def __init__(self, app: ASGIApp, notice: tuple[str, str] = ("", "")) -> None:
        self._app = app
        self._notice = notice

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the rest of the application with a ``RequestScope``."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given_id = headers.get(b"x-request-id", b"")
        traceparent = headers.get(b"traceparent", b"")
        # fullmatch: ``$`` alone would accept a line feed at the end
        request = RequestScope(
            headers=headers,
            request_id=given_id.decode("ascii") if _REQUEST_ID.fullmatch(given_id) else new_id(),
            traceparent=traceparent.decode("ascii") if _TRACEPARENT.fullmatch(traceparent) else None,
            address=_address(scope, headers),
        )
        scope[_SCOPE_KEY] = request

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
                headers = MutableHeaders(raw=message["headers"])
                headers["X-Request-ID"] = request.request_id
                if self._notice[0]:
                    headers[self._notice[0]] = self._notice[1]
                if request.traceparent is not None:
                    headers["traceparent"] = request.traceparent
            await send(message)

        with bind_call(request.request_id, request.caused_by):
            await self._app(scope, receive, send_with_id)
