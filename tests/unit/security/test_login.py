import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import argon2
import pytest
from pydantic import SecretStr

from zejzl_ray.commands.records import Records
from zejzl_ray.errors import LoginRefused, RateLimited, ServiceUnavailable
from zejzl_ray.security.draft import AuditFact, SecurityDraft
from zejzl_ray.security.lockout import Lockout, LockoutRecord
from zejzl_ray.security.login import Login, LoginOutcome, decide_login_outcome
from zejzl_ray.security.passwords import HashingSettings, PasswordWorker
from zejzl_ray.security.user_record import UserRecord
from zejzl_ray.testing import ManualClock

CHEAP = HashingSettings(time_cost=1, memory_kib=8, parallelism=1, threads=2, max_waiting=4, max_strangers=4)
GOOD, BAD = SecretStr("gravel-otter-lamp-77"), SecretStr("not the password")
HOME, AWAY = "192.0.2.7", "198.51.100.9"


@dataclass
class Gateway:
    """As much of the service as a login needs: it commits what an attempt leads to, then answers."""

    clock: ManualClock = field(default_factory=ManualClock)
    records: Records = field(default_factory=Records)
    facts: list[AuditFact] = field(default_factory=list)
    writes: int = 0

    def __post_init__(self) -> None:
        self.worker = PasswordWorker(self.clock, CHEAP)
        self.restart()

    def restart(self) -> None:
        self.lockout = Lockout()
        self.entrance = Login(self.worker, self.lockout, self.clock)

    async def register(self, user: str = "ada", **more: object) -> None:
        stored = await self.worker.hash(GOOD)
        record = UserRecord(user=user, roles=("viewer",), created_at_s=1.0, password_hash=stored)
        self.records.put(user, record.model_copy(update=more))

    def commit(self, outcome: LoginOutcome) -> UserRecord | None:
        draft = SecurityDraft(self.records, self.clock.now_s())
        record = decide_login_outcome(draft, outcome, "r1")
        draft.apply()
        self.facts += draft.facts
        self.writes += len(draft.ops)
        return record

    async def log_in(self, user: str, password: SecretStr, address: str = HOME) -> UserRecord | None:
        return self.commit(await self.entrance.attempt(self.records, user, password, address))

    async def fail(self, times: int, user: str = "ada", address: str = AWAY) -> None:
        """Fail as often as that, patiently."""
        failed = 0
        while failed < times:
            try:
                assert await self.log_in(user, BAD, address) is None
                failed += 1
            except RateLimited as error:
                self.clock.advance(error.retry_after_s)

    async def wait_s(self, user: str = "ada", address: str = AWAY) -> float:
        with pytest.raises(RateLimited) as caught:
            await self.log_in(user, GOOD, address)
        return caught.value.retry_after_s

    def user(self, user: str = "ada") -> UserRecord:
        record = self.records.get(UserRecord, user, self.clock.now_s())
        assert record is not None
        return record


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    gateway = Gateway()
    await gateway.register()
    yield gateway
    await gateway.worker.close()


async def test_the_right_password_lets_in_and_is_noted(gateway: Gateway) -> None:
    record = await gateway.log_in("ada", GOOD)
    assert record == gateway.user()
    assert record.last_login_at_s == gateway.clock.now_s()
    assert record.known_addresses == (HOME,)
    assert gateway.facts == []


@pytest.mark.parametrize("user", ["ada", "nobody", "closed", "no_password"])
async def test_every_failed_login_gets_the_same_words(gateway: Gateway, user: str) -> None:
    await gateway.register("closed", is_active=False)
    await gateway.register("no_password", password_hash=None)
    password = BAD if user == "ada" else GOOD
    with pytest.raises(LoginRefused) as caught:
        await gateway.entrance.check(gateway.records, user, password, HOME)
    assert caught.value.args == (
        "The name, password or credential is not right.",
        "Check it and try again.",
    )


async def test_check_returns_whose_password_it_is(gateway: Gateway) -> None:
    assert await gateway.entrance.check(gateway.records, "ada", GOOD, HOME) == gateway.user()


async def test_unknown_closed_and_password_less_accounts_cost_one_check_like_others(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.register("closed", is_active=False)
    await gateway.register("no_password", password_hash=None)
    checked: list[str | None] = []
    check = gateway.worker.verify_now

    def noting(password: bytes, stored: str | None) -> bool:
        checked.append(stored)
        return check(password, stored)

    monkeypatch.setattr(gateway.worker, "verify_now", noting)
    for user in ("nobody", "closed", "no_password"):
        assert await gateway.log_in(user, GOOD) is None
    assert await gateway.log_in("ada", BAD, AWAY) is None
    assert checked == [None, None, None, gateway.user().password_hash]


async def test_a_failure_is_told_without_the_name_of_an_account_that_there_is_not(gateway: Gateway) -> None:
    known = await gateway.entrance.attempt(gateway.records, "ada", BAD, AWAY)
    unknown = await gateway.entrance.attempt(gateway.records, "oops-my-password", BAD, AWAY)
    assert known.observation is not None
    assert (known.observation.kind, known.observation.subject) == ("login_failed", "user:ada")
    assert known.observation.address == AWAY
    assert unknown.observation is not None
    assert unknown.observation.subject == ""
    gateway.commit(known)
    gateway.commit(unknown)
    assert [(fact.kind, fact.subject, fact.outcome) for fact in gateway.facts] == [
        ("denied", "user:ada", "login_refused"),
        ("denied", "", "login_refused"),
    ]
    assert "oops" not in repr(gateway.facts) + repr(unknown)
    assert (await gateway.entrance.attempt(gateway.records, "ada", GOOD, HOME)).observation is None


@pytest.mark.parametrize("user", ["ada", "nobody"])
async def test_an_account_locks_for_the_attackers_address_whether_it_exists_or_not(
    gateway: Gateway, user: str
) -> None:
    await gateway.fail(5, user)
    assert await gateway.wait_s(user) == 2
    gateway.clock.advance(2)
    await gateway.fail(1, user)
    assert await gateway.wait_s(user) == 4


async def test_the_user_gets_in_from_elsewhere_while_an_attacker_is_locked_out(gateway: Gateway) -> None:
    await gateway.fail(4)
    assert await gateway.wait_s() == 1
    assert await gateway.log_in("ada", GOOD, HOME) is not None
    assert await gateway.wait_s() == 1


async def test_a_success_resets_the_pair_and_forgets_what_was_stored_of_it(gateway: Gateway) -> None:
    await gateway.fail(4)
    assert gateway.records.count(LockoutRecord) == 1
    gateway.clock.advance(1)
    assert await gateway.log_in("ada", GOOD, AWAY) is not None
    assert gateway.records.count(LockoutRecord) == 0
    await gateway.fail(3)
    assert await gateway.log_in("ada", GOOD, AWAY) is not None


async def test_failures_before_a_lock_write_nothing(gateway: Gateway) -> None:
    await gateway.fail(3)
    assert gateway.writes == 0
    await gateway.fail(1)
    assert gateway.writes == 1


async def test_locks_and_known_addresses_outlive_a_restart(gateway: Gateway) -> None:
    assert await gateway.log_in("ada", GOOD, HOME) is not None
    await gateway.fail(5)
    for number in range(10):
        await gateway.fail(1, f"other{number}", HOME)
    gateway.restart()
    gateway.lockout.fail("other", HOME, gateway.clock.now_s())  # the address as such has to wait now
    assert await gateway.wait_s() == 2
    assert await gateway.log_in("ada", GOOD, HOME) is not None  # and the one who is known there does not


async def test_an_operator_lifts_a_lock_out(gateway: Gateway) -> None:
    await gateway.fail(6)
    gateway.entrance.lift("ada")
    assert await gateway.log_in("ada", GOOD, AWAY) is not None


async def test_the_last_eight_addresses_are_known(gateway: Gateway) -> None:
    for number in (*range(10), 5):
        assert await gateway.log_in("ada", GOOD, f"10.0.{number}.1") is not None
    assert gateway.user().known_addresses[:3] == ("10.0.5.1", "10.0.9.1", "10.0.8.1")
    assert len(gateway.user().known_addresses) == 8


async def test_a_hash_with_old_costs_is_made_anew_at_the_next_login(gateway: Gateway) -> None:
    old = argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(GOOD.get_secret_value())
    await gateway.register("eve", password_hash=old)
    assert await gateway.log_in("eve", GOOD) is not None
    new = gateway.user("eve").password_hash
    assert new is not None
    assert "m=8,t=1,p=1" in new
    assert await gateway.log_in("eve", GOOD) is not None
    assert gateway.user("eve").password_hash == new


@pytest.mark.parametrize("change", [{"password_version": 9}, {"is_active": False}, None])
async def test_a_login_does_not_end_well_when_the_account_changed_meanwhile(
    gateway: Gateway, change: dict[str, object] | None
) -> None:
    outcome = await gateway.entrance.attempt(gateway.records, "ada", GOOD, HOME)
    if change is None:
        gateway.records.delete(UserRecord.KIND, "ada")
    else:
        gateway.records.put("ada", gateway.user().model_copy(update=change))
    assert gateway.commit(outcome) is None
    assert gateway.writes == 0
    assert [fact.outcome for fact in gateway.facts] == ["login_refused"]


class Held:
    """Keeps checks from ending."""

    def __init__(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = threading.Event()
        self.checks = 0
        self._check = gateway.worker.verify_now
        monkeypatch.setattr(gateway.worker, "verify_now", self.check)

    def check(self, password: bytes, stored: str | None) -> bool:
        self.checks += 1
        assert self.gate.wait(10)
        return self._check(password, stored)


async def until(gateway: Gateway, running: int, waiting: int) -> None:
    async with asyncio.timeout(10):
        while (gateway.worker.running, gateway.worker.waiting) != (running, waiting):  # noqa: ASYNC110  it is no event of ours
            await asyncio.sleep(0.001)


async def test_trying_many_passwords_at_the_same_time_is_no_way_around_the_lock_out(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(gateway, monkeypatch)
    tries = [asyncio.create_task(gateway.log_in("ada", BAD, AWAY)) for _ in range(5)]
    await until(gateway, 1, 4)
    held.gate.set()
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert held.checks == 4
    assert sum(isinstance(each, RateLimited) for each in outcomes) == 1


async def test_a_full_queue_is_said_before_anything_is_looked_up(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(gateway, monkeypatch)
    tries = [asyncio.create_task(gateway.log_in("ada", BAD, f"10.0.{n}.1")) for n in range(5)]
    await until(gateway, 1, 4)

    class Untouchable(Records):
        def get(self, *_: object) -> None:
            raise AssertionError("looked up")

    gateway.lockout.fail("ada", AWAY, gateway.clock.now_s())
    with pytest.raises(RateLimited):
        await gateway.entrance.attempt(Untouchable(), "ada", GOOD, AWAY)
    held.gate.set()
    assert await asyncio.gather(*tries) == [None] * 5


async def test_hanging_up_before_the_answer_counts_as_a_failure(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(gateway, monkeypatch)
    attempt = asyncio.create_task(gateway.log_in("ada", BAD, AWAY))
    await until(gateway, 1, 0)
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    held.gate.set()
    await until(gateway, 0, 0)
    await gateway.fail(3)
    assert await gateway.wait_s() == 1


async def test_want_of_memory_is_no_failure_of_the_user(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> bool:
        raise ServiceUnavailable("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(gateway.worker, "verify_now", no_memory)
        with pytest.raises(ServiceUnavailable):
            await gateway.log_in("ada", GOOD, AWAY)
    assert not gateway.lockout.has_failed("ada", AWAY, gateway.clock.now_s())


async def test_what_is_remembered_of_places_has_a_bound(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zejzl_ray.security.login._FAMILIAR", 3)
    for number in range(6):
        assert await gateway.log_in("ada", GOOD, f"10.0.{number}.1") is not None
    assert len(gateway.entrance._familiar) == 3


async def test_ten_thousand_wrong_logins_from_many_addresses_do_not_keep_the_user_out(
    gateway: Gateway,
) -> None:
    """All at once against one queue, with real hashes of little cost."""

    async def wrong(number: int) -> str:
        address = f"10.{number >> 8 & 255}.{number & 255}.1"
        try:
            return "refused" if await gateway.log_in("ada", BAD, address) is None else "in"
        except RateLimited:
            return "limited"

    flood = [asyncio.create_task(wrong(number)) for number in range(10_000)]
    await asyncio.sleep(0)
    attempts, record = 0, None
    while record is None:
        attempts += 1
        try:
            record = await gateway.log_in("ada", GOOD, HOME)
        except RateLimited:
            gateway.clock.advance(1)
    outcomes = await asyncio.gather(*flood)
    assert "in" not in outcomes
    assert outcomes.count("limited") > 9000
    assert attempts <= 2
    assert gateway.worker.waiting == 0
    assert len(gateway.lockout) < 1000
