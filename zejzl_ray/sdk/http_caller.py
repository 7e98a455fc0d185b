"""``Caller`` over HTTP: how programs outside the cluster reach it."""

import asyncio
import ssl
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import httpx2
from pydantic import SecretStr, ValidationError

from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.problems import wire_status
from zejzl_ray.errors import (
    DeadlineExceeded,
    InvalidInput,
    PayloadTooLarge,
    RateLimited,
    ServiceUnavailable,
    TimedOut,
    Unauthenticated,
    ZejzlError,
)
from zejzl_ray.sdk.headers import to_headers
from zejzl_ray.sdk.http_request import HttpRequest, to_http
from zejzl_ray.sdk.own_writes import OwnWrites
from zejzl_ray.sdk.patience import Patience
from zejzl_ray.sdk.problem_reply import retry_after_s, to_error
from zejzl_ray.version import __version__

MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
_AUTH_HEADER: Final = "zejzl-auth"


class HttpCaller:
    """Calls operations over HTTP and raises the project's own exceptions.

    A call that may be repeated (``Operation.is_repeatable``) is tried up to four times while the answer says
    "try again later" or the connection fails, with growing pauses or the server's ``Retry-After``, and never
    beyond its deadline. Redirects are not followed, so that the token goes nowhere else; nor does it go
    through a proxy when the address is this machine.

    Args:
        base_url: ``http://host:port`` or ``https://host:port``.
        token: proof of who is calling; a call's own token stands before it.
        timeout_s: limit of a call that brings no deadline.
        transport: replaces the network in tests.
        clock: where deadlines are read.
        patience: how often a repeatable call is tried, and with which pauses.
        ca_file: certificate authority to trust beside the system's own.

    Raises:
        InvalidInput: the address is none, or the file with the authority cannot be read.
        Unauthenticated: the token is not one word of ASCII.
    """

    def __init__(
        self,
        base_url: str,
        token: SecretStr | None = None,
        timeout_s: float = 10.0,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        patience: Patience | None = None,
        ca_file: Path | None = None,
    ) -> None:
        self._url = _checked(base_url)
        self._token = _sound(token)
        self._timeout_s = timeout_s
        self._clock: Clock = clock or SystemClock()
        self._patience = patience or Patience()
        self._own_writes = OwnWrites(self._clock)
        self._is_auth_off: bool | None = None
        self._client = httpx2.AsyncClient(
            base_url=self._url,
            transport=transport,
            verify=_trust(ca_file) if self._url.scheme == "https" else True,
            trust_env=not _is_loopback(self._url.host),
            headers={"accept": "application/json", "user-agent": f"zejzl-ray/{__version__}"},
        )

    @property
    def is_auth_off(self) -> bool | None:
        """Whether the last answer said that calls without a token pass; None before the first answer."""
        return self._is_auth_off

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        """Run the operation; see ``Caller``.

        Raises:
            ServiceUnavailable: nothing answers at the address.
            DeadlineExceeded: no answer in time; the operation may still take effect.
            ZejzlError: what the service raised, or an answer that is not understood.
        """
        now_s = self._clock.now_s()
        deadline_at_s = now_s + self._timeout_s if call.deadline_at_s is None else call.deadline_at_s
        update: dict[str, object] = {"deadline_at_s": deadline_at_s}
        if call.token is None:
            update["token"] = self._token
        else:
            _sound(call.token)
        call = call.model_copy(update=update)
        try:
            async with asyncio.timeout(deadline_at_s - now_s):
                reply = await self._with_retries(operation, self._http(operation, request), call)
        except TimedOut:  # the answer itself, and not that none came
            raise
        except TimeoutError:
            raise DeadlineExceeded(
                f"{operation.name} got no answer from {self._url} within {deadline_at_s - now_s:.1f} s.",
                "It may still take effect; repeat it with a longer timeout_s.",
            ) from None
        self._own_writes.note(operation, reply)
        return reply

    async def close(self) -> None:
        """Close the connections; safe to repeat."""
        await self._client.aclose()

    def _http(self, operation: Operation, request: Contract) -> HttpRequest:
        sent = to_http(operation, request)
        return replace(sent, query=sent.query + self._own_writes.query(operation))

    async def _with_retries(self, operation: Operation, request: HttpRequest, call: CallContext) -> Contract:
        asked_pause_s: float | None = None

        async def once() -> Contract:
            nonlocal asked_pause_s
            asked_pause_s = None
            response, body = await self._send(operation, request, call)
            if response.is_success:
                return _parse(operation, response.status_code, body)
            asked_pause_s = retry_after_s(response.headers.get("retry-after"))
            error = to_error(response.status_code, body, where=f"{operation.name} at {self._url}")
            if isinstance(error, RateLimited) and asked_pause_s:
                raise RateLimited(error.message, error.remedy, asked_pause_s)
            raise error

        def pause_after(error: BaseException) -> float | None:
            is_temporary = isinstance(error, ZejzlError) and wire_status(error).retry_after_s is not None
            return (asked_pause_s or 0.0) if is_temporary else None

        patience = self._patience if operation.is_repeatable else replace(self._patience, attempts=1)
        return await patience.run(once, pause_after, (call.deadline_at_s or 0.0) - self._clock.now_s())

    async def _send(
        self, operation: Operation, request: HttpRequest, call: CallContext
    ) -> tuple[httpx2.Response, bytes]:
        now_s = self._clock.now_s()
        left_s = max(0.001, (call.deadline_at_s or now_s) - now_s)
        headers = to_headers(call, now_s)
        if request.body is not None:
            headers["content-type"] = "application/json"
        try:
            async with self._client.stream(
                request.verb,
                request.path,
                params=request.query or None,
                content=request.body,
                headers=headers,
                timeout=left_s,
            ) as response:
                self._is_auth_off = response.headers.get(_AUTH_HEADER) == "off"
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_REPLY_BYTES:
                        raise PayloadTooLarge(
                            f"The answer to {operation.name} is longer than {MAX_REPLY_BYTES} bytes.",
                            "Ask for less at a time, with a filter or a smaller limit.",
                        )
                return response, bytes(body)
        except httpx2.TimeoutException:
            raise TimeoutError from None
        except httpx2.DecodingError:
            raise ZejzlError(f"The answer to {operation.name} from {self._url} cannot be decoded.") from None
        except httpx2.ConnectError as error:
            if "CERTIFICATE" in str(error):
                raise ServiceUnavailable(
                    f"The certificate of {self._url} is not trusted.",
                    "Name the file with its authority, ca.pem of the cluster's directory tls, in ZEJZL_CA_FILE.",
                ) from None
            raise ServiceUnavailable(
                f"Nothing answers at {self._url}.",
                "Start the cluster with `zejzl up`, or set ZEJZL_ADDRESS to where it listens.",
            ) from None
        except httpx2.TransportError as error:
            raise ServiceUnavailable(
                f"The connection to {self._url} broke during {operation.name} ({type(error).__name__}).",
                "Try again; if it stays, see the log of the ingress.",
            ) from None


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    """OpenSSL's own default, the system's authorities or those of SSL_CERT_FILE, and that of the cluster."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # ssl.SSLError too
            raise InvalidInput(
                f"No certificate authority in {ca_file}: {error.strerror or 'not PEM'}.",
                "Copy ca.pem from the cluster's directory tls, and name it in ZEJZL_CA_FILE.",
            ) from None
    return context


def _parse(operation: Operation, status: int, body: bytes) -> Contract:
    try:
        return operation.reply.model_validate_json(body)
    except ValidationError:
        raise ZejzlError(
            f"{operation.name} was answered with HTTP status {status} and something that is no "
            f"{operation.reply.__name__}.",
            "Check the address; client and server may also be of different versions.",
        ) from None


def _checked(base_url: str) -> httpx2.URL:
    remedy = "Give it as http://host:port or https://host:port."
    try:
        url = httpx2.URL(base_url.rstrip("/"))
    except httpx2.InvalidURL:
        raise InvalidInput(f"The address {base_url!r} is no URL.", remedy) from None
    if url.userinfo:
        raise InvalidInput("The address holds a user name or password.", remedy)  # and is not repeated here
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment:
        raise InvalidInput(f"The address {base_url!r} cannot be used.", remedy)
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _sound(token: SecretStr | None) -> SecretStr | None:
    if token is None:
        return None
    text = token.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise Unauthenticated(
            "The token is not one word of printable ASCII.",
            "Hand over the content of the token file, unchanged.",
        )
    return token
