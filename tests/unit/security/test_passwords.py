import asyncio
import threading
from collections.abc import AsyncIterator

import argon2
import pytest
from argon2.exceptions import HashingError, VerificationError
from pydantic import SecretStr

from zejzl_ray.errors import RateLimited, ServiceUnavailable
from zejzl_ray.security.login_queue import Claim
from zejzl_ray.security.passwords import HashingSettings, PasswordWorker, default_threads
from zejzl_ray.testing import ManualClock

CHEAP = HashingSettings(time_cost=1, memory_kib=8, parallelism=1, threads=2, max_waiting=3, max_strangers=3)
GOOD = SecretStr("gravel-otter-lamp-77")


@pytest.fixture
async def worker() -> AsyncIterator[PasswordWorker]:
    worker = PasswordWorker(ManualClock(), CHEAP)
    yield worker
    await worker.close()


class Held:
    """Keeps every check of a worker from ending until it is let go."""

    def __init__(self, worker: PasswordWorker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = threading.Event()
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._check = worker.verify_now
        monkeypatch.setattr(worker, "verify_now", self.check)

    def check(self, password: bytes, stored: str | None) -> bool:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        assert self.gate.wait(10)
        with self._lock:
            self._now -= 1
        return self._check(password, stored)


async def login(worker: PasswordWorker, stored: str | None, address: str, **more: bool) -> bool:
    async with worker.turn(Claim("ada", address, **more)) as turn:
        return await turn.verify(GOOD, stored)


async def until_running(worker: PasswordWorker, running: int, waiting: int) -> None:
    async with asyncio.timeout(10):
        while (worker.running, worker.waiting) != (running, waiting):  # noqa: ASYNC110  it is no event of ours
            await asyncio.sleep(0.001)


async def test_a_hash_is_argon2id_with_a_salt_of_its_own_and_knows_its_password(
    worker: PasswordWorker,
) -> None:
    one, other = await worker.hash(GOOD), await worker.hash(GOOD)
    assert one.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert one != other
    assert await worker.verify(GOOD, one)
    assert not await worker.verify(SecretStr("gravel-otter-lamp-78"), one)


async def test_a_password_typed_in_another_form_is_the_same(worker: PasswordWorker) -> None:
    stored = await worker.hash(SecretStr("caf\u00e9 gravel otter"))
    assert await worker.verify(SecretStr("cafe\u0301 gravel otter"), stored)


async def test_nobody_has_no_password_and_the_check_does_the_same_work(
    worker: PasswordWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    verify = argon2.PasswordHasher.verify

    def noting(self: argon2.PasswordHasher, stored: str, password: bytes) -> bool:
        checked.append(stored)
        return verify(self, stored, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", noting)
    assert not await worker.verify(GOOD, None)
    real = await worker.hash(GOOD)
    assert len(checked) == 1
    assert checked[0].rpartition("$")[0].rpartition("$")[0] == real.rpartition("$")[0].rpartition("$")[0]
    assert [len(part) for part in checked[0].split("$")] == [len(part) for part in real.split("$")]
    assert not worker.needs_rehash(checked[0])


async def test_a_stored_hash_that_cannot_be_read_lets_nobody_in_and_costs_as_much(
    worker: PasswordWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = 0
    verify = worker.verify_now

    def counting(password: bytes, stored: str | None) -> bool:
        nonlocal checks
        checks += 1
        return verify(password, stored)

    monkeypatch.setattr(worker, "verify_now", counting)
    assert not await worker.verify(GOOD, "md5:abcdef")
    assert checks == 2
    assert not worker.needs_rehash("md5:abcdef")


async def test_a_hash_with_other_costs_is_known_and_to_be_made_anew(worker: PasswordWorker) -> None:
    old = argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(GOOD.get_secret_value())
    assert await worker.verify(GOOD, old)
    assert worker.needs_rehash(old)
    assert not worker.needs_rehash(await worker.hash(GOOD))


async def test_no_more_are_checked_at_once_than_there_are_threads(
    worker: PasswordWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(worker, monkeypatch)
    calls = [asyncio.create_task(login(worker, None, f"10.0.{n}.1", is_familiar=True)) for n in range(5)]
    await until_running(worker, 2, 3)
    held.gate.set()
    assert await asyncio.gather(*calls) == [False] * 5
    assert held.most == 2
    await until_running(worker, 0, 0)


async def test_strangers_leave_a_thread_free_and_hear_at_once_that_the_queue_is_full(
    worker: PasswordWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await worker.hash(GOOD)
    held = Held(worker, monkeypatch)
    strangers = [asyncio.create_task(login(worker, None, f"10.0.{n}.1")) for n in range(4)]
    await until_running(worker, 1, 3)
    with pytest.raises(RateLimited):
        await login(worker, None, "10.0.9.1", has_failed=True)
    right = asyncio.create_task(login(worker, stored, "192.0.2.1", is_familiar=True))
    await until_running(worker, 2, 3)
    held.gate.set()
    assert await right
    assert await asyncio.gather(*strangers) == [False] * 4


async def test_who_is_put_out_of_the_queue_is_told_so(
    worker: PasswordWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(worker, monkeypatch)
    guilty = [asyncio.create_task(login(worker, None, f"10.0.{n}.1", has_failed=True)) for n in range(4)]
    await until_running(worker, 1, 3)
    fresh = asyncio.create_task(login(worker, None, "192.0.2.1"))
    done, _ = await asyncio.wait(guilty, return_when=asyncio.FIRST_COMPLETED)
    assert [type(each.exception()) for each in done] == [RateLimited]
    held.gate.set()
    assert await fresh is False
    outcomes = await asyncio.gather(*guilty, return_exceptions=True)
    assert sorted(str(type(each).__name__) for each in outcomes) == ["RateLimited", "bool", "bool", "bool"]


async def test_nobody_waits_longer_than_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = PasswordWorker(ManualClock(), CHEAP.model_copy(update={"max_wait_s": 0.01}))
    held = Held(worker, monkeypatch)
    first = asyncio.create_task(login(worker, None, "10.0.0.1"))
    await until_running(worker, 1, 0)
    with pytest.raises(RateLimited):
        await login(worker, None, "10.0.1.1")
    assert worker.waiting == 0
    held.gate.set()
    assert await first is False
    await worker.close()


async def test_a_caller_that_hangs_up_frees_its_thread_only_when_the_thread_is_done(
    worker: PasswordWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(worker, monkeypatch)
    running = asyncio.create_task(login(worker, None, "10.0.0.1"))
    await until_running(worker, 1, 0)
    waiting = asyncio.create_task(login(worker, None, "10.0.1.1"))
    await until_running(worker, 1, 1)
    for task in (running, waiting):
        task.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    assert (worker.running, worker.waiting) == (1, 0)
    held.gate.set()
    await until_running(worker, 0, 0)


async def test_closing_tells_those_who_wait_and_refuses_others(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = PasswordWorker(ManualClock(), CHEAP)
    held = Held(worker, monkeypatch)
    running = asyncio.create_task(login(worker, None, "10.0.0.1"))
    await until_running(worker, 1, 0)
    waiting = asyncio.create_task(login(worker, None, "10.0.1.1"))
    await until_running(worker, 1, 1)
    closing = asyncio.create_task(worker.close())
    with pytest.raises(ServiceUnavailable):
        await waiting
    held.gate.set()
    assert await running is False
    await closing
    await worker.close()
    with pytest.raises(ServiceUnavailable):
        await worker.hash(GOOD)


async def test_closing_between_turn_and_work_refuses_the_work() -> None:
    worker = PasswordWorker(ManualClock(), CHEAP)
    async with worker.turn(Claim(is_familiar=True)) as turn:
        await worker.close()
        with pytest.raises(ServiceUnavailable):
            await turn.hash(GOOD)


async def test_want_of_memory_is_no_wrong_password(
    worker: PasswordWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(self: argon2.PasswordHasher, *_: object) -> bool:
        raise VerificationError("Memory allocation error")

    def none_either(self: argon2.PasswordHasher, *_: object) -> str:
        raise HashingError("Memory allocation error")

    monkeypatch.setattr(argon2.PasswordHasher, "verify", no_memory)
    monkeypatch.setattr(argon2.PasswordHasher, "hash", none_either)
    with pytest.raises(ServiceUnavailable):
        await worker.verify(GOOD, None)
    with pytest.raises(ServiceUnavailable):
        await worker.hash(GOOD)
    assert worker.running == 0


def test_a_loop_that_ends_before_its_thread_is_no_error() -> None:
    worker = PasswordWorker(ManualClock(), CHEAP)
    gate = threading.Event()

    async def hang_up() -> None:
        async with worker.turn(Claim(is_familiar=True)) as turn:
            task = asyncio.ensure_future(turn._run(lambda: gate.wait(10)))
            await asyncio.sleep(0)
            task.cancel()

    asyncio.run(hang_up())
    gate.set()
    asyncio.run(worker.close())


def test_the_number_of_threads_is_that_of_the_processors_up_to_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    assert default_threads() == 4
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3})
    assert default_threads() == 1


def test_the_default_costs_are_those_of_the_library() -> None:
    hasher = argon2.PasswordHasher()
    settings = HashingSettings()
    assert (settings.time_cost, settings.memory_kib, settings.parallelism) == (
        hasher.time_cost,
        hasher.memory_cost,
        hasher.parallelism,
    )
