"""A person's login on this machine: tokens in a file, renewed by whichever process needs it first."""

import asyncio
import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr, ValidationError

from zejzl_ray.clock import Clock
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.tokens import RefreshTokens, Tokens
from zejzl_ray.contracts.wire_secret import WireSecret
from zejzl_ray.errors import InvalidInput, Unauthenticated
from zejzl_ray.ids import new_id

SESSION_FILE: Final = "session"
_RENEW_BEFORE_S: Final = 60.0
_MAX_BYTES: Final = 64 * 1024
_REMEDY: Final = "Run `zejzl login`."


class SavedLogin(Contract):
    """What lies in the file, mode 0600."""

    subject: str
    session: str
    access_token: WireSecret
    expires_at_s: float
    refresh_token: WireSecret
    refresh_expires_at_s: float | None = None
    next_request_id: str = Field(
        description="of the next renewal, so that one that was cut off is repeated as the same"
    )


def saved_login(tokens: Tokens) -> SavedLogin:
    """Return what to save of an answer to a login or renewal.

    Raises:
        InvalidInput: the answer has no refresh token, so nobody has logged in.
    """
    if tokens.refresh_token is None:
        raise InvalidInput("This answer belongs to no login.")
    return SavedLogin(
        subject=tokens.subject,
        session=tokens.session,
        access_token=tokens.access_token,
        expires_at_s=tokens.expires_at_s,
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
    """Replace the file; it is never readable by others and never half-written."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(login.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


class LoginSession:
    """A ``TokenProvider`` of a saved login; several processes may share the file.

    A refresh token counts once, so only the holder of the file's lock renews, and the others read what it wrote.

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

    async def token(self) -> SecretStr:
        """Return an access token that is valid now.

        Raises:
            Unauthenticated: nobody is logged in, or the login is over.
            Unavailable: it has to be renewed, and the gateway is away.
        """
        login = self._login
        if login is None or not self._is_fresh(login):
            login = await self._renewed(None)
        return login.access_token

    async def renewed(self, old: SecretStr) -> SecretStr:
        """Return another token in the place of one that a service has refused."""
        return (await self._renewed(old)).access_token

    async def close(self) -> None:
        """Nothing is under way; the login stays."""

    async def _renewed(self, refused: SecretStr | None) -> SavedLogin:
        async with self._renewing:
            with self._open_lock() as lock:
                await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
                login = await asyncio.to_thread(read_login, self._path)
                if login is None:
                    raise Unauthenticated("Nobody is logged in.", _REMEDY)
                if not self._is_fresh(login) or login.access_token == refused:
                    request = RefreshTokens(
                        refresh_token=login.refresh_token, request_id=login.next_request_id
                    )
                    login = saved_login(await self._gateway.refresh_tokens(request))
                    await asyncio.to_thread(write_login, self._path, login)
                self._login = login
                return login

    @contextlib.contextmanager
    def _open_lock(self) -> Iterator[int]:
        descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _is_fresh(self, login: SavedLogin) -> bool:
        return self._clock.now_s() < login.expires_at_s - _RENEW_BEFORE_S
