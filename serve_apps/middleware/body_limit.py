"""A bound for request bodies, announced or streamed."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_apps.middleware.request_scope import request_scope_of
from zejzl_ray.errors import InvalidInput, PayloadTooLarge


class BodyLimitMiddleware:
    """Refuses a body above the limit: before it is read, or while it is read without a known length."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the rest of the application behind the limit."""
        if scope["type"] != "http" or scope["method"] == "GET":
            await self._app(scope, receive, send)
            return
        announced = request_scope_of(scope).headers.get(b"content-length")
        if announced is not None:
            if not announced.isdigit():
                raise InvalidInput("header.Content-Length: not a number.", "Correct the header.")
            if int(announced) > self._max_body_bytes:
                raise self._too_large()
        received_bytes = 0

        async def limited_receive() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > self._max_body_bytes:
                raise self._too_large()
            return message

        await self._app(scope, limited_receive, send)

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"body: larger than {self._max_body_bytes} bytes.", "Send it in several requests."
        )
