"""A login on this machine: its file, and renewing it with others who share it."""

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from zejzl_ray.contracts.tokens import RefreshTokens, Tokens
from zejzl_ray.errors import (
    ClusterError,
    DeadlineExceeded,
    InvalidInput,
    LoginRefused,
    ServiceUnavailable,
    Unauthenticated,
    ZejzlError,
)
from zejzl_ray.sdk import login_session
from zejzl_ray.sdk.login_session import (
    LoginSession,
    SavedLogin,
    forget_login,
    keep_login,
    read_login,
    saved_login,
    write_login,
)
from zejzl_ray.testing import ManualClock

LIFE_S = 900.0


class Gateway:
    """Gives the next tokens for the current refresh token, and refuses any other, as the real one does."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.number = 1
        self.requests: list[RefreshTokens] = []
        self.trouble: list[ZejzlError] = []
        self.offset_s = 0.0  # of the gateway's clock

    def tokens(self) -> Tokens:
        now_s = self.clock.now_s() + self.offset_s
        return Tokens(
            access_token=SecretStr(f"access-{self.number}"),
            subject="user:ada",
            scopes=(),
            audience="zejzl",
            issued_at_s=now_s,
            expires_at_s=now_s + LIFE_S,
            session="s1",
            refresh_token=SecretStr(f"refresh-{self.number}"),
            refresh_expires_at_s=now_s + 86_400,
        )

    async def call(self, operation: Any, request: Any, call: Any) -> Tokens:
        assert operation.name == "refresh_tokens"
        self.requests.append(request)
        await asyncio.sleep(0)  # others may come in between
        if self.trouble:
            raise self.trouble.pop(0)
        if request.refresh_token.get_secret_value() != f"refresh-{self.number}":
            raise LoginRefused("The name, password or credential is not right.")
        self.number += 1
        return self.tokens()

    async def close(self) -> None: ...


@pytest.fixture
def gateway(clock: ManualClock) -> Gateway:
    return Gateway(clock)


@pytest.fixture
def path(tmp_path: Path, gateway: Gateway, clock: ManualClock) -> Path:
    file = tmp_path / "session"
    write_login(file, saved_login(gateway.tokens(), clock.now_s()))
    return file


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def read(path: Path) -> SavedLogin:
    found = read_login(path)
    assert found is not None
    return found


async def token_of(session: LoginSession) -> str:
    return (await session.token()).get_secret_value()


# --- the file ------------------------------------------------------------------------------------------------


def test_the_file_is_for_its_owner_and_reads_back_whole(path: Path) -> None:
    found = read(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (found.subject, found.session) == ("user:ada", "s1")
    assert found.refresh_token.get_secret_value() == "refresh-1"
    assert "refresh-1" not in repr(found)
    assert [entry.name for entry in path.parent.iterdir()] == ["session"]


def test_no_file_is_no_login(tmp_path: Path) -> None:
    assert read_login(tmp_path / "session") is None


def test_a_file_that_others_may_read_is_refused_with_its_remedy(path: Path) -> None:
    path.chmod(0o640)
    with pytest.raises(Unauthenticated, match=r"Others may read.*chmod 600") as caught:
        read_login(path)
    assert "refresh-1" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"refresh_token": "geheim"}', b"\xff\xfe"])
def test_a_file_that_holds_something_else_is_refused_and_not_quoted(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(Unauthenticated, match=r"holds no login.*zejzl login") as caught:
        read_login(path)
    assert "geheim" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(Unauthenticated, match="cannot be read"):
        read_login(tmp_path)


def test_a_file_that_cannot_be_written_is_left_as_it_was(
    path: Path, gateway: Gateway, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    gateway.number = 7
    with pytest.raises(ClusterError, match="No space left"):
        write_login(path, saved_login(gateway.tokens(), clock.now_s()))
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["session"]


def test_an_answer_without_a_refresh_token_is_no_login(gateway: Gateway) -> None:
    tokens = gateway.tokens().model_copy(update={"refresh_token": None})
    with pytest.raises(InvalidInput, match="no login"):
        saved_login(tokens, 0.0)


# --- tokens --------------------------------------------------------------------------------------------------


async def test_a_fresh_token_costs_no_call(path: Path, gateway: Gateway, clock: ManualClock) -> None:
    session = LoginSession(path, gateway, clock)
    assert await token_of(session) == "access-1"
    clock.advance(LIFE_S / 2)
    assert await token_of(session) == "access-1"
    await session.close()
    assert gateway.requests == []


async def test_an_old_token_is_renewed_and_saved(path: Path, gateway: Gateway, clock: ManualClock) -> None:
    session = LoginSession(path, gateway, clock)
    await session.token()
    clock.advance(LIFE_S * 0.7)
    assert await token_of(session) == "access-2"
    saved = read(path)
    assert saved.refresh_token.get_secret_value() == "refresh-2"
    assert mode_of(path) == 0o600
    assert saved.next_request_id != gateway.requests[0].request_id


@pytest.mark.parametrize("offset_s", [-86_400.0, 86_400.0])
async def test_a_clock_that_is_off_does_not_renew_at_every_call(
    tmp_path: Path, gateway: Gateway, clock: ManualClock, offset_s: float
) -> None:
    gateway.offset_s = offset_s
    write_login(tmp_path / "session", saved_login(gateway.tokens(), clock.now_s()))
    session = LoginSession(tmp_path / "session", gateway, clock)
    clock.advance(LIFE_S * 0.7)
    await session.token()
    await session.token()
    assert len(gateway.requests) == 1


async def test_two_sessions_that_share_the_file_renew_once(
    path: Path, gateway: Gateway, clock: ManualClock
) -> None:
    sessions = [LoginSession(path, gateway, clock) for _ in range(2)]
    clock.advance(LIFE_S)
    found = await asyncio.gather(*(token_of(session) for session in sessions for _ in range(3)))
    assert set(found) == {"access-2"}
    assert len(gateway.requests) == 1


async def test_a_refused_token_is_renewed_unless_another_process_has(
    path: Path, gateway: Gateway, clock: ManualClock
) -> None:
    one, other = LoginSession(path, gateway, clock), LoginSession(path, gateway, clock)
    old = await one.token()
    assert await other.token() == old
    assert (await one.renewed(old)).get_secret_value() == "access-2"
    assert (await other.renewed(old)).get_secret_value() == "access-2"
    assert len(gateway.requests) == 1


async def test_a_renewal_that_was_cut_off_is_repeated_as_the_same(
    path: Path, gateway: Gateway, clock: ManualClock
) -> None:
    session = LoginSession(path, gateway, clock)
    clock.advance(LIFE_S)
    gateway.trouble = [DeadlineExceeded("late")]
    with pytest.raises(DeadlineExceeded):
        await session.token()
    assert await token_of(LoginSession(path, gateway, clock)) == "access-2"
    first, second = gateway.requests
    assert first == second
    clock.advance(LIFE_S)
    await session.token()
    assert gateway.requests[2].request_id != first.request_id


async def test_while_the_gateway_is_away_the_token_is_used_to_its_end(
    path: Path, gateway: Gateway, clock: ManualClock
) -> None:
    session = LoginSession(path, gateway, clock)
    clock.advance(LIFE_S * 0.7)
    gateway.trouble = [ServiceUnavailable("away")] * 3
    assert await token_of(session) == "access-1"
    assert await token_of(session) == "access-1"
    assert len(gateway.requests) == 1  # not at every call
    clock.advance(10.0)
    assert await token_of(session) == "access-1"
    assert len(gateway.requests) == 2
    clock.advance(LIFE_S)
    with pytest.raises(ServiceUnavailable):
        await session.token()
    assert await token_of(session) == "access-2"


async def test_when_a_refused_token_cannot_be_renewed_the_next_call_looks_into_the_file_again(
    path: Path, gateway: Gateway, clock: ManualClock
) -> None:
    session = LoginSession(path, gateway, clock)
    old = await session.token()
    gateway.trouble = [ServiceUnavailable("away")]
    with pytest.raises(ServiceUnavailable):
        await session.renewed(old)
    gateway.number = 5
    write_login(path, saved_login(gateway.tokens(), clock.now_s()))  # as another process does
    assert await token_of(session) == "access-5"
    assert len(gateway.requests) == 1


async def test_a_login_that_is_over_says_so(path: Path, gateway: Gateway, clock: ManualClock) -> None:
    session = LoginSession(path, gateway, clock)
    await session.token()
    gateway.number = 9
    clock.advance(LIFE_S)
    with pytest.raises(Unauthenticated, match=r"login of user:ada is over.*zejzl login"):
        await session.token()


async def test_after_a_logout_nobody_is_logged_in(path: Path, gateway: Gateway, clock: ManualClock) -> None:
    session = LoginSession(path, gateway, clock)
    await session.token()
    await forget_login(path)
    await forget_login(path)
    clock.advance(LIFE_S)
    with pytest.raises(Unauthenticated, match="Nobody is logged in"):
        await session.token()
    assert gateway.requests == []


# --- the lock ------------------------------------------------------------------------------------------------


async def test_a_new_login_waits_for_a_renewal_and_is_not_overwritten(
    path: Path, gateway: Gateway, clock: ManualClock
) -> None:
    clock.advance(LIFE_S)
    other = Gateway(clock)
    other.number = 40
    begun, go_on = asyncio.Event(), asyncio.Event()
    inner = gateway.call

    async def slow(operation: Any, request: Any, call: Any) -> Tokens:
        begun.set()
        await go_on.wait()
        return await inner(operation, request, call)

    gateway.call = slow  # type: ignore[method-assign] # this fake alone
    renewing = asyncio.create_task(token_of(LoginSession(path, gateway, clock)))
    await begun.wait()
    keeping = asyncio.create_task(keep_login(path, saved_login(other.tokens(), clock.now_s())))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(renewing, keeping)
    assert read(path).access_token.get_secret_value() == "access-40"


async def test_a_lock_that_is_held_for_too_long_is_named(
    path: Path, gateway: Gateway, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_session, "_LOCK_TIMEOUT_S", 0.05)
    with path.with_name("session.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ServiceUnavailable, match=r"session\.lock"):
            await LoginSession(path, gateway, clock).token()
    assert await token_of(LoginSession(path, gateway, clock)) == "access-1"


async def test_without_its_directory_the_login_cannot_be_used(tmp_path: Path, clock: ManualClock) -> None:
    session = LoginSession(tmp_path / "away" / "session", Gateway(clock), clock)
    with pytest.raises(Unauthenticated, match=r"cannot be used.*zejzl login"):
        await session.token()
