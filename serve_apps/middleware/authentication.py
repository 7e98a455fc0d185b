"""Closed by default: every path but ``/healthz`` wants a valid bearer token."""

import hashlib
import hmac
import os
import stat
from pathlib import Path
from typing import Final, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from serve_apps.middleware.request_scope import request_scope_of
from zejzl_ray.errors import SettingsInvalid, Unauthenticated

PUBLIC_PATHS: Final = frozenset({"/healthz"})
_MIN_TOKEN_LENGTH: Final = 32
_REMEDY: Final = "Send 'Authorization: Bearer TOKEN'; `zejzl up` prints where the token lies."


class Authenticator(Protocol):
    """Decides whether an ``Authorization`` header proves who is calling."""

    def check(self, authorization: bytes | None) -> str:
        """Return the token of the header.

        Raises:
            Unauthenticated: there is none, or it is not valid.
        """
        ...


class BearerToken:
    """The one token of a cluster, from the time before the security gateway.

    Only its hash is compared, in constant time. The token is kept, since the replica itself calls services
    with it.

    Args:
        token: at least 32 characters, no blanks.
    """

    def __init__(self, token: str) -> None:
        if len(token) < _MIN_TOKEN_LENGTH or not token.isascii() or any(char.isspace() for char in token):
            raise SettingsInvalid(
                f"The ingress token is not {_MIN_TOKEN_LENGTH} or more ASCII characters without blanks.",
                "Remove the token file and run `zejzl up` again: it writes a new one.",
            )
        self.token = token
        self._digest = hashlib.sha256(token.encode()).digest()

    def __repr__(self) -> str:
        """Return a text without the token."""
        return "BearerToken(...)"

    @classmethod
    def read(cls, path: Path) -> "BearerToken":
        """Read the token from a file that only its owner can read.

        Raises:
            SettingsInvalid: the file is missing, belongs to somebody else, is readable by others, or holds no
            token.
        """
        try:
            with path.open("rb") as file:
                state = os.fstat(file.fileno())
                content = file.read(4096)
        except OSError as error:
            raise SettingsInvalid(
                f"The ingress token file {path} cannot be read: {error.strerror}.", "`zejzl up` writes it."
            ) from None
        if stat.S_IMODE(state.st_mode) & 0o077 or state.st_uid != os.geteuid():
            raise SettingsInvalid(
                f"The ingress token file {path} can be read by others, or belongs to another user.",
                "Give it to the user that runs Ray, with mode 600; replace the token if others saw it.",
            )
        return cls(content.decode("ascii", errors="replace").strip())

    def check(self, authorization: bytes | None) -> str:
        """Return the token of the header, or raise ``Unauthenticated``."""
        if authorization is None:
            raise Unauthenticated("The request carries no token.", _REMEDY)
        scheme, _, token = authorization.partition(b" ")
        digest = hashlib.sha256(token.strip()).digest()
        if scheme.lower() != b"bearer" or not hmac.compare_digest(digest, self._digest):
            raise Unauthenticated("header.Authorization: not a valid bearer token.", _REMEDY)
        return self.token


class AuthenticationMiddleware:
    """Lets a request pass only with a valid token, or to a public path."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the token, then run the rest of the application."""
        if scope["type"] == "http" and scope["path"] not in PUBLIC_PATHS:
            request = request_scope_of(scope)
            request.token = self._authenticator.check(request.headers.get(b"authorization"))
        elif scope["type"] == "websocket":
            # there are no websocket routes; close without looking further
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)
