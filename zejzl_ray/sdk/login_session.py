"""A person's login on this machine: tokens in a file, renewed by whichever process needs it first."""

import asyncio
import contextlib
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr, ValidationError

from zejzl_ray.clock import Clock
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.tokens import RefreshTokens, Tokens
from zejzl_ray.contracts.wire_secret import WireSecret
from zejzl_ray.errors import (
    ClusterError,
    DeadlineExceeded,
    InvalidInput,
    ServiceUnavailable,
    Unauthenticated,
    Unavailable,
)
from zejzl_ray.ids import new_id

SESSION_FILE: Final = "session"
_RENEW_SHARE: Final = 2 / 3
_PAUSE_S: Final = 5.0  # between two tries while the gateway is away and the old token still counts
_LOCK_TIMEOUT_S: Final = 30.0
_LOCK_PERIOD_S: Final = 0.02
_MAX_BYTES: Final = 64 * 1024
_REMEDY: Final = "Run `zejzl login`."


class SavedLogin(Contract):
    """What lies in the file, mode 0600. Times of the access token are those of this machine's clock."""

    subject: str
    session: str
    access_token: WireSecret
    renew_at_s: float
    expires_at_s: float
    refresh_token: WireSecret
    refresh_expires_at_s: float | None = None
    next_request_id: str = Field(
        description="of the next renewal, so that one that was cut off is repeated as the same"
    )


def saved_login(tokens: Tokens, now_s: float) -> SavedLogin:
    """Return what to save of an answer to a login or renewal that has just arrived.

    Raises:
        InvalidInput: the answer has no refresh token, so nobody has logged in.
    """
    if tokens.refresh_token is None:
        raise InvalidInput("This answer belongs to no login.")
    # Counted from its arrival: with a clock that is off, each call would ask for new tokens.
    life_s = max(0.0, tokens.expires_at_s - tokens.issued_at_s)
    return SavedLogin(
        subject=tokens.subject,
        session=tokens.session,
        access_token=tokens.access_token,
        renew_at_s=now_s + life_s * _RENEW_SHARE,
        expires_at_s=now_s + life_s,
        refresh_token=tokens.refresh_token,
        refresh_expires_at_s=tokens.refresh_expires_at_s,
        next_request_id=new_id("renew"),
    )


def read_login(path: Path) -> SavedLogin | None:
    """Return the login of a file; None when there is no such file.

    Raises:
        Unauthenticated: others may read the file, or it holds no login.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise Unauthenticated(f"Others may read the login file {path}.", f"Run: chmod 600 {path}")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unauthenticated(f"The login file {path} cannot be read: {error.strerror}.", _REMEDY) from None
    try:
        return SavedLogin.model_validate_json(content)
    except ValidationError:
        raise Unauthenticated(f"The file {path} holds no login.", _REMEDY) from None


def write_login(path: Path, login: SavedLogin) -> None:
    """Replace the file; it is never readable by others and never half-written.

    Raises:
        ClusterError: it cannot be written; the file is what it was.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(login.model_dump_json())
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise ClusterError(
            f"Cannot write the login file {path}: {error.strerror}.", "Check the disk and the directory."
        ) from None


async def keep_login(path: Path, login: SavedLogin) -> None:
    """Put a new login into the file; a renewal of the one before cannot overwrite it afterwards.

    Raises:
        ClusterError: the file cannot be written.
        ServiceUnavailable: another process holds the file for too long.
    """
    async with _locked(path):
        await asyncio.to_thread(write_login, path, login)


async def forget_login(path: Path) -> None:
    """Remove the file, after a renewal that another process has under way. Safe to repeat.

    Raises:
        ServiceUnavailable: another process holds the file for too long.
    """
    async with _locked(path):
        await asyncio.to_thread(path.unlink, missing_ok=True)


class LoginSession:
    """A ``TokenProvider`` of a saved login; several processes may share the file.

    A refresh token counts once, so only the holder of the file's lock renews, and the others read what it wrote. A
    renewal whose answer was lost is asked for again under the same request id, which the gateway answers the same.

    Args:
        path: the file.
        caller: a way to the gateway that needs no token; the session does not close it.
        clock: tells when to renew.
    """

    def __init__(self, path: Path, caller: Caller, clock: Clock) -> None:
        self._path = path
        self._gateway = SecurityGatewayClient(caller)
        self._clock = clock
        self._renewing = asyncio.Lock()
        self._login: SavedLogin | None = None
        self._retry_at_s = float("-inf")

    async def token(self) -> SecretStr:
        """Return an access token that is valid now.

        From 2/3 of its life on it is renewed; while the gateway is away the old one is used until its end.

        Raises:
            Unauthenticated: nobody is logged in, or the login is over.
            Unavailable: it has to be renewed, and the gateway is away.
        """
        if (login := self._usable()) is not None:
            return login.access_token
        try:
            return (await self._renewed(None)).access_token
        except (Unavailable, DeadlineExceeded):
            self._retry_at_s = self._clock.now_s() + _PAUSE_S
            if (login := self._usable()) is not None:
                return login.access_token
            raise

    async def renewed(self, old: SecretStr) -> SecretStr:
        """Return another token in the place of one that a service has refused; errors as ``token``."""
        return (await self._renewed(old)).access_token

    async def close(self) -> None:
        """Nothing is under way; the login stays."""

    def _usable(self) -> SavedLogin | None:
        """Return the login as this process knows it, where its token may be used without asking anybody."""
        now_s, login = self._clock.now_s(), self._login
        if login is None or now_s >= login.expires_at_s:
            return None
        return login if now_s < login.renew_at_s or now_s < self._retry_at_s else None

    async def _renewed(self, refused: SecretStr | None) -> SavedLogin:
        async with self._renewing, _locked(self._path):
            login = await asyncio.to_thread(read_login, self._path)
            if login is None:
                self._login = None
                raise Unauthenticated("Nobody is logged in.", _REMEDY)
            if login.access_token == refused or self._clock.now_s() >= login.renew_at_s:
                self._login = None if login.access_token == refused else login
                request = RefreshTokens(refresh_token=login.refresh_token, request_id=login.next_request_id)
                try:
                    tokens = await self._gateway.refresh_tokens(request)
                except Unauthenticated:
                    self._login = None
                    raise Unauthenticated(f"The login of {login.subject} is over.", _REMEDY) from None
                login = saved_login(tokens, self._clock.now_s())
                await asyncio.to_thread(write_login, self._path, login)
            self._login = login
            return login


@contextlib.asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Hold the lock of a login file, which lies beside it and stays."""
    lock = path.with_name(f"{path.name}.lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unauthenticated(f"The login file {path} cannot be used: {error.strerror}.", _REMEDY) from None
    try:
        await _lock(descriptor, lock)
        yield
    finally:
        os.close(descriptor)


async def _lock(descriptor: int, lock: Path) -> None:
    # Asked for again and again: a thread that waits for it could not be given up.
    try:
        async with asyncio.timeout(_LOCK_TIMEOUT_S):
            while True:
                try:
                    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await asyncio.sleep(_LOCK_PERIOD_S)
    except TimeoutError:
        raise ServiceUnavailable(
            f"Another process has held {lock} for {_LOCK_TIMEOUT_S:.0f} s.", "Look which, and try again."
        ) from None
