import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.commands.records import Records
from zejzl_ray.errors import RateLimited
from zejzl_ray.security.draft import SecurityDraft
from zejzl_ray.security.lockout import (
    Lockout,
    LockoutRecord,
    LockoutRules,
    account_key,
    lift_in,
    locked_accounts,
    surplus_locks,
)

HOME, AWAY = "192.0.2.7", "198.51.100.9"
NOW_S = 1000.0


def wait_s(lockout: Lockout, account: str, address: str, now_s: float, *, is_familiar: bool = False) -> float:
    try:
        lockout.check(account, address, now_s, is_familiar=is_familiar)
    except RateLimited as error:
        return error.retry_after_s
    return 0.0


def failed(times: int, account: str = "ada", address: str = AWAY, now_s: float = NOW_S) -> Lockout:
    lockout = Lockout()
    for _ in range(times):
        lockout.fail(account, address, now_s)
    return lockout


@pytest.mark.parametrize(
    ("failures", "delay_s"), [(3, 0), (4, 1), (5, 2), (6, 4), (9, 32), (13, 512), (14, 900), (3000, 900)]
)
def test_after_three_free_failures_each_one_doubles_the_wait_up_to_a_quarter_of_an_hour(
    failures: int, delay_s: float
) -> None:
    assert wait_s(failed(failures), "ada", AWAY, NOW_S) == delay_s


def test_the_wait_counts_down_and_ends() -> None:
    lockout = failed(6)
    assert wait_s(lockout, "ada", AWAY, NOW_S + 1.5) == 2.5
    assert wait_s(lockout, "ada", AWAY, NOW_S + 4) == 0


def test_an_attacker_does_not_shut_the_user_out_from_another_address() -> None:
    lockout = failed(1000)
    assert wait_s(lockout, "ada", HOME, NOW_S) == 0


def test_an_address_that_tries_many_accounts_has_to_wait_with_all_of_them() -> None:
    lockout = Lockout()
    for number in range(11):
        lockout.fail(f"user{number}", AWAY, NOW_S)
    assert wait_s(lockout, "somebody_else", AWAY, NOW_S) == 1
    assert wait_s(lockout, "somebody_else", HOME, NOW_S) == 0


def test_somebody_familiar_is_not_held_up_by_others_behind_the_same_address() -> None:
    lockout = Lockout()
    for number in range(20):
        lockout.fail(f"user{number}", HOME, NOW_S)
    assert wait_s(lockout, "ada", HOME, NOW_S) > 0
    assert wait_s(lockout, "ada", HOME, NOW_S, is_familiar=True) == 0
    for _ in range(4):
        lockout.fail("ada", HOME, NOW_S)
    assert wait_s(lockout, "ada", HOME, NOW_S, is_familiar=True) == 1


def test_a_success_forgets_the_pair_and_not_the_address() -> None:
    lockout = failed(12)
    lockout.succeed("ada", AWAY)
    assert wait_s(lockout, "ada", AWAY, NOW_S) == 2
    assert wait_s(lockout, "ada", AWAY, NOW_S, is_familiar=True) == 0
    assert lockout.has_failed("ada", AWAY, NOW_S)


def test_without_an_address_only_the_account_counts() -> None:
    lockout = failed(12, address="")
    assert wait_s(lockout, "ada", "", NOW_S) == 256
    assert wait_s(lockout, "bob", "", NOW_S) == 0


@pytest.mark.parametrize("twin", ["2001:db8::1", "2001:db8::ffff:2"])
def test_all_addresses_of_one_ipv6_network_are_one(twin: str) -> None:
    assert wait_s(failed(5, address="2001:db8::abcd"), "ada", twin, NOW_S) == 2


def test_an_ipv4_address_in_ipv6_clothes_is_the_same_one() -> None:
    assert wait_s(failed(5, address=f"::ffff:{AWAY}"), "ada", AWAY, NOW_S) == 2


def test_failures_are_forgotten_after_a_day() -> None:
    lockout = failed(3)
    assert lockout.has_failed("ada", AWAY, NOW_S + 86_399)
    assert not lockout.has_failed("ada", AWAY, NOW_S + 86_400)
    assert len(lockout) == 0


def test_a_failure_can_be_taken_back_exactly() -> None:
    lockout = failed(4)
    charge = lockout.fail("ada", AWAY, NOW_S + 5)
    lockout.take_back(charge)
    assert wait_s(lockout, "ada", AWAY, NOW_S) == 1
    first = lockout.fail("new", HOME, NOW_S)
    lockout.take_back(first)
    assert not lockout.has_failed("new", HOME, NOW_S)


def test_a_clock_that_was_set_back_makes_nobody_wait_longer() -> None:
    lockout = failed(4, now_s=NOW_S + 50_000)
    assert wait_s(lockout, "ada", AWAY, NOW_S) == 1
    assert wait_s(lockout, "ada", AWAY, NOW_S + 1) == 0


def test_nothing_is_stored_before_somebody_is_locked() -> None:
    lockout = Lockout()
    assert [len(lockout.fail("ada", AWAY, NOW_S).locks) for _ in range(4)] == [0, 0, 0, 1]
    for _ in range(6):
        charge = lockout.fail("ada", AWAY, NOW_S)
    assert len(charge.locks) == 1
    assert len(lockout.fail("ada", AWAY, NOW_S).locks) == 2


def test_a_lock_outlives_a_restart_and_ends_when_it_would_have() -> None:
    lockout, records = Lockout(), Records()
    draft = SecurityDraft(records, NOW_S)
    for _ in range(11):
        for lock in lockout.fail("ada", AWAY, NOW_S).locks:
            draft.put(lock.key, lock, lockout.expires_at_s(lock))
    draft.apply()
    after = Lockout()
    after.load(records, NOW_S + 1)
    assert wait_s(after, "ada", AWAY, NOW_S + 1) == 127
    assert wait_s(after, "bob", AWAY, NOW_S) == 1
    much_later = Lockout()
    much_later.load(records, NOW_S + 86_401)
    assert len(much_later) == 0


def test_what_is_stored_names_no_account() -> None:
    lock = failed(5).fail("my-password-in-the-wrong-field", AWAY, NOW_S)
    assert lock.locks == ()
    text = failed(5).fail("ada", AWAY, NOW_S).locks[0].model_dump_json()
    assert "ada" not in text
    assert account_key("ada") in text


def test_an_operator_lifts_every_lock_of_an_account_and_no_other() -> None:
    lockout, draft = Lockout(), SecurityDraft(Records(), NOW_S)
    for account in ("ada", "bob"):
        for _ in range(4):
            for lock in lockout.fail(account, AWAY, NOW_S).locks:
                draft.put(lock.key, lock)
    assert locked_accounts(draft) == {account_key("ada"), account_key("bob")}
    lift_in(draft, "ada")
    lockout.lift("ada")
    assert locked_accounts(draft) == {account_key("bob")}
    assert wait_s(lockout, "ada", AWAY, NOW_S) == 0
    assert wait_s(lockout, "bob", AWAY, NOW_S) == 1


def test_a_lock_that_is_over_is_not_shown() -> None:
    draft = SecurityDraft(Records(), NOW_S)
    record = LockoutRecord(
        account="x", address=AWAY, failures=4, last_failed_at_s=900.0, locked_until_s=NOW_S
    )
    draft.put(record.key, record)
    assert locked_accounts(draft) == frozenset()


def test_failing_elsewhere_does_not_wash_a_lock_away() -> None:
    lockout = Lockout(LockoutRules(max_entries=100))
    for _ in range(8):
        lockout.fail("ada", AWAY, NOW_S)
    for number in range(1000):
        lockout.fail(f"other{number}", f"203.0.{number // 250}.{number % 250}", NOW_S + number)
    assert len(lockout) == 100
    assert wait_s(lockout, "ada", AWAY, NOW_S) == 16


def test_above_the_bound_the_oldest_of_the_least_is_forgotten_first() -> None:
    lockout = Lockout(LockoutRules(max_entries=4))
    for account in ("first", "second", "third", "fourth", "fifth"):
        lockout.fail(account, "", NOW_S)
    assert not lockout.has_failed("first", "", NOW_S)
    assert lockout.has_failed("fifth", "", NOW_S)


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_is_typed_makes_a_key_that_the_store_takes(account: str, address: str) -> None:
    record = LockoutRecord(
        account=account_key(account), address=address, failures=1, last_failed_at_s=0, locked_until_s=0
    )
    assert record.key.isascii()
    assert len(record.key) < 80
    assert (account_key(account) == account_key(address)) == (account == address)


def test_stored_lockouts_have_a_bound_and_the_weakest_go_first() -> None:
    records = Records()
    for number in range(60):
        lock = LockoutRecord(
            account=f"{number:02d}", address=HOME, failures=4 + number % 3, last_failed_at_s=NOW_S + number,
            locked_until_s=NOW_S + 900,
        )  # fmt: skip
        records.put(lock.key, lock, NOW_S + 86_400)
    assert surplus_locks(records, NOW_S, most=60) == []
    gone = [records.get(LockoutRecord, key, NOW_S) for key in surplus_locks(records, NOW_S, most=50)]
    assert [lock.account for lock in gone if lock is not None] == [
        f"{number:02d}" for number in range(0, 33, 3)
    ]
