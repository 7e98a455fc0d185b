"""Hashing and checking passwords with argon2id: off the event loop, a bounded number at once, in a fair order.

Each hash takes the memory that its parameters say (64 MiB by default), so threads bound the memory, and
``login_queue.py`` says whose turn it is. Whoever finds the queue full gets ``RateLimited`` before any
look-up.

A password is checked against a hash of the same cost when there is no such account, or one without a password: in the
hashed path an unknown account takes as long as a known one.
"""

import asyncio
import base64
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import argon2
import structlog
from argon2.exceptions import HashingError, InvalidHashError, VerificationError, VerifyMismatchError
from pydantic import Field, SecretStr

from zejzl_ray.clock import Clock
from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import ServiceUnavailable
from zejzl_ray.security.login_queue import Claim, LoginQueue, Ticket, busy
from zejzl_ray.security.password_policy import normalised

_log = structlog.get_logger(__name__)
_MOST_THREADS: Final = 4
T = TypeVar("T")


def default_threads() -> int:
    """Return how many hashes at once this machine gets: its processors, at most 4."""
    return max(1, min(_MOST_THREADS, len(os.sched_getaffinity(0))))


class HashingSettings(Contract):
    """What a hash costs and how many may wait for one; the costs are the library's (RFC 9106, low memory)."""

    time_cost: int = Field(default=argon2.DEFAULT_TIME_COST, ge=1, le=100)
    memory_kib: int = Field(default=argon2.DEFAULT_MEMORY_COST, ge=8, le=4 * 1024 * 1024)
    parallelism: int = Field(default=argon2.DEFAULT_PARALLELISM, ge=1, le=64)
    threads: int = Field(
        default_factory=default_threads, ge=1, le=_MOST_THREADS, description="hashes at once"
    )
    max_waiting: int = Field(default=32, ge=1, le=10_000, description="of those who have been there before")
    max_strangers: int = Field(default=8, ge=1, le=10_000, description="of all others who may wait")
    max_wait_s: float = Field(default=5.0, gt=0, le=60, description="after it one is told to come back")


class Turn:
    """The right to hash, as long as ``PasswordWorker.turn`` is entered."""

    def __init__(self, worker: "PasswordWorker") -> None:
        self._worker = worker
        self._work: Future[object] | None = None

    async def verify(self, password: SecretStr, stored: str | None) -> bool:
        """Tell whether the password is the one that was hashed; never with a stored hash of null.

        Raises:
            ServiceUnavailable: it cannot be told, for want of memory.
        """
        return await self._run(lambda: self._worker.verify_now(normalised(password), stored))

    async def hash(self, password: SecretStr) -> str:
        """Return a new hash with a salt of its own, with the parameters in its text.

        Raises:
            ServiceUnavailable: not possible, for want of memory.
        """
        return await self._run(lambda: self._worker.hash_now(normalised(password)))

    def when_over(self, done: Callable[[], None]) -> None:
        """Have ``done`` called once no thread works for this turn any more: at once, or from that thread."""
        work = self._work
        if work is None or work.done():
            done()
            return
        loop = asyncio.get_running_loop()

        def tell(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile, and with it the queue
                loop.call_soon_threadsafe(done)

        work.add_done_callback(tell)

    async def _run(self, work: Callable[[], T]) -> T:
        future = self._worker.submit(work)
        self._work = future  # type: ignore[assignment]  # only whether it is done is asked for
        return await asyncio.wrap_future(future)


class PasswordWorker:
    """Hashes and checks passwords.

    Args:
        clock: for the order of the queue.
        settings: costs and bounds.
    """

    def __init__(self, clock: Clock, settings: HashingSettings | None = None) -> None:
        self._settings = settings = settings or HashingSettings()
        self._clock = clock
        self._hasher = argon2.PasswordHasher(
            time_cost=settings.time_cost,
            memory_cost=settings.memory_kib,
            parallelism=settings.parallelism,
        )
        self._nobodys_hash = _hash_of_nothing(self._hasher)
        # One slot is never a stranger's where there is more than one.
        self._queue = LoginQueue(
            slots=settings.threads,
            stranger_slots=max(1, settings.threads - 1),
            max_waiting=settings.max_waiting,
            max_strangers=settings.max_strangers,
        )
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="password")
        self._turns: dict[Ticket, asyncio.Future[None]] = {}
        self._is_closed = False

    @property
    def running(self) -> int:
        """How many turns are taken at the moment."""
        return self._queue.running

    @property
    def waiting(self) -> int:
        """How many wait for theirs."""
        return self._queue.waiting

    @asynccontextmanager
    async def turn(self, claim: Claim) -> AsyncIterator[Turn]:
        """Wait for a turn and hold it.

        Raises:
            RateLimited: no room in the queue, or put out of it by somebody who goes first.
            ServiceUnavailable: closed.
        """
        if self._is_closed:
            raise _closed()
        ticket, put_out = self._queue.enter(claim, self._clock.monotonic_s())
        if put_out is not None:
            self._refuse(put_out, busy())
        mine = self._turns[ticket] = asyncio.get_running_loop().create_future()
        turn = Turn(self)
        try:
            self._start()
            try:
                async with asyncio.timeout(self._settings.max_wait_s):
                    await mine
            except TimeoutError:
                raise busy() from None
            yield turn
        finally:
            self._turns.pop(ticket, None)
            turn.when_over(lambda: self._leave(ticket))

    async def hash(self, password: SecretStr) -> str:
        """Return a new hash, on behalf of a caller who has proved who it is.

        Raises:
            RateLimited: too many wait.
            ServiceUnavailable: closed, or no memory.
        """
        async with self.turn(Claim(is_familiar=True)) as turn:
            return await turn.hash(password)

    async def verify(self, password: SecretStr, stored: str | None) -> bool:
        """Tell whether the password is the one that was hashed; with null it takes as long and is false.

        For callers who have proved who they are; logins go through ``login.py``.

        Raises:
            RateLimited: too many wait.
            ServiceUnavailable: closed, or no memory.
        """
        async with self.turn(Claim(is_familiar=True)) as turn:
            return await turn.verify(password, stored)

    def needs_rehash(self, stored: str) -> bool:
        """Tell whether a hash was made with other parameters than those of today."""
        try:
            return self._hasher.check_needs_rehash(stored)
        except InvalidHashError:
            return False

    async def close(self) -> None:
        """Refuse whoever waits and wait for the hashes that are under way; safe to repeat."""
        self._is_closed = True
        for ticket in list(self._turns):
            self._refuse(ticket, _closed())
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Give work to a thread; for a ``Turn``."""
        if self._is_closed:
            raise _closed()
        return self._threads.submit(work)

    def hash_now(self, password: bytes) -> str:
        """Hash in this thread."""
        try:
            return self._hasher.hash(password)
        except HashingError as error:
            raise _failed(error) from None

    def verify_now(self, password: bytes, stored: str | None) -> bool:
        """Check in this thread."""
        try:
            return self._hasher.verify(stored or self._nobodys_hash, password) and stored is not None
        except VerifyMismatchError:
            return False
        except InvalidHashError:
            _log.error("a stored password hash cannot be read, its account cannot log in")
            return self.verify_now(password, None)
        except VerificationError as error:
            raise _failed(error) from None

    def _start(self) -> None:
        for ticket in self._queue.start(self._clock.monotonic_s()):
            turn = self._turns.get(ticket)
            if turn is not None and not turn.done():
                turn.set_result(None)

    def _refuse(self, ticket: Ticket, error: Exception) -> None:
        turn = self._turns.get(ticket)
        if turn is not None and not turn.done():
            turn.set_exception(error)

    def _leave(self, ticket: Ticket) -> None:
        self._queue.leave(ticket)
        self._start()


def _hash_of_nothing(hasher: argon2.PasswordHasher) -> str:
    """Return a hash with the hasher's costs that no password has but by chance, without the time of making one."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(length)).decode().rstrip("=")
        for length in (hasher.salt_len, hasher.hash_len)
    )
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v={argon2.low_level.ARGON2_VERSION}${costs}${salt}${digest}"


def _closed() -> ServiceUnavailable:
    return ServiceUnavailable("The gateway is stopping.", "Try again in a moment.")


def _failed(error: Exception) -> ServiceUnavailable:
    _log.error("argon2 could not work", error=str(error))
    return ServiceUnavailable("Passwords cannot be checked at the moment.", "Try again later.")
