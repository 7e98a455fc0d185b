"""Endpoints that the ingress answers by itself, closed."""

from typing import Final

from starlette.types import Receive, Scope, Send

from serve_apps.door import Door
from serve_apps.endpoint import Endpoint
from serve_apps.middleware.request_scope import RequestScope, request_scope_of
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.health import GetHealth
from zejzl_ray.contracts.operation import Operation

_NOTHING: Final = GetHealth()  # what is asked does not matter: none of these pages is anybody's own


class Guarded:
    """An endpoint that the ingress answers by itself, closed: the scope is checked here, where the work is done.

    Requests that go on to a service are checked there.
    """

    def __init__(self, operation: Operation, endpoint: Endpoint, door: Door, clock: Clock) -> None:
        self._operation = operation
        self._endpoint = endpoint
        self._door = door
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, if its caller may ask."""
        request: RequestScope = request_scope_of(scope)
        call = request.call_context(self._clock)
        await self._door.admit(self._operation, _NOTHING, call, request.address)
        await self._endpoint(scope, receive, send)
