import contextlib
import heapq
import itertools
from collections.abc import Iterator

import pytest

from zejzl_ray.errors import RateLimited
from zejzl_ray.security.login_queue import Claim, LoginQueue, Ticket, neighbourhood_of

HASH_S = 0.1
RIGHT = "203.0.113.5"


def queue(slots: int = 2, stranger_slots: int = 1, max_waiting: int = 8) -> LoginQueue:
    return LoginQueue(
        slots=slots, stranger_slots=stranger_slots, max_waiting=max_waiting, max_strangers=max_waiting
    )


def entered(line: LoginQueue, address: str, now_s: float = 0.0, **more: object) -> Ticket:
    claim = Claim(account=str(more.pop("account", "ada")), address=address, **more)  # type: ignore[arg-type]
    return line.enter(claim, now_s)[0]


def test_strangers_leave_one_slot_to_those_who_have_been_there_before() -> None:
    line = queue()
    entered(line, "10.0.0.1")
    entered(line, "10.0.1.1")
    assert len(line.start(0.0)) == 1
    known = entered(line, RIGHT, is_familiar=True)
    assert line.start(0.0) == [known]
    assert (line.running, line.waiting) == (2, 1)


def test_where_there_is_one_slot_everybody_may_have_it() -> None:
    line = queue(slots=1, stranger_slots=1)
    stranger = entered(line, "10.0.0.1")
    assert line.start(0.0) == [stranger]


def test_one_password_of_an_address_is_checked_at_a_time() -> None:
    line = queue(slots=4, stranger_slots=4)
    first, second, other = (entered(line, a) for a in ("10.0.0.1", "10.0.0.1", "10.0.0.2"))
    started = line.start(0.0)
    assert other in started
    assert len(started) == 2
    line.leave(started[0])
    line.leave(started[1])
    assert set(line.start(0.0)) == {first, second} - set(started)


def test_without_an_address_it_is_one_of_an_account() -> None:
    line = queue(slots=4, stranger_slots=4)
    entered(line, "", account="ada")
    entered(line, "", account="ada")
    entered(line, "", account="bob")
    assert sorted(ticket.claim.account for ticket in line.start(0.0)) == ["ada", "bob"]


def test_the_gateways_own_work_has_no_such_limit_and_waits_in_order() -> None:
    line = queue()
    tickets = [line.enter(Claim(is_familiar=True), 0.0)[0] for _ in range(3)]
    assert line.start(0.0) == tickets[:2]
    line.leave(tickets[1])
    assert line.start(0.0) == tickets[2:]


def test_who_has_failed_goes_last_and_is_put_out_first() -> None:
    line = queue(max_waiting=2)
    line.start(0.0)
    blocker = entered(line, "10.9.9.9")
    assert line.start(0.0) == [blocker]
    guilty = entered(line, "10.0.0.1", has_failed=True)
    entered(line, "10.0.1.1")
    _, put_out = line.enter(Claim("ada", RIGHT), 0.0)
    assert put_out is guilty
    with pytest.raises(RateLimited) as caught:
        entered(line, "10.0.2.1", has_failed=True)
    assert caught.value.retry_after_s == 1.0


def test_a_quiet_neighbourhood_goes_before_a_busy_one() -> None:
    line = queue()
    line.start(0.0)
    for number in range(7):
        entered(line, f"10.0.0.{number}", account=f"user{number}")
    right = entered(line, RIGHT, account="right")
    entered(line, "10.0.0.99", account="user99")
    assert line.start(0.0) == [right]


def test_a_quiet_account_goes_before_one_that_is_attacked() -> None:
    line = queue()
    for number in range(7):
        entered(line, f"10.0.{number}.1", account="ada")
    right = entered(line, RIGHT, account="bob")
    entered(line, "10.0.99.1", account="ada")
    assert line.start(0.0) == [right]


def test_who_comes_back_when_told_goes_before_ever_new_ones() -> None:
    line = queue(max_waiting=1)
    entered(line, RIGHT, 0.0)
    _, put_out = line.enter(Claim("ada", "10.0.0.1"), 0.0)
    assert put_out is not None
    assert put_out.claim.address == RIGHT
    right = entered(line, RIGHT, 1.0)
    with pytest.raises(RateLimited):
        entered(line, "10.0.1.1", 1.0)
    assert line.start(0.0) == [right]


@pytest.mark.parametrize("again_s", [0.2, 61.0])
def test_who_comes_back_at_once_or_much_later_has_no_precedence(again_s: float) -> None:
    line = queue(max_waiting=1)
    entered(line, RIGHT, 0.0)
    line.enter(Claim("ada", "10.0.0.1"), 0.0)
    right, _ = line.enter(Claim("ada", RIGHT), again_s)
    _, put_out = line.enter(Claim("ada", "10.0.1.1"), again_s)
    assert put_out is right


def test_who_has_no_address_is_put_out_without_being_remembered() -> None:
    line = queue(max_waiting=1)
    entered(line, "", account="bob", has_failed=True)
    _, put_out = line.enter(Claim("ada", RIGHT), 0.0)
    assert put_out is not None
    assert put_out.claim.account == "bob"
    assert not line._sent_away


def test_those_who_have_been_there_before_have_a_bound_as_well() -> None:
    line = queue(max_waiting=2)
    for _ in range(2):
        entered(line, RIGHT, is_familiar=True)
    with pytest.raises(RateLimited):
        entered(line, RIGHT, is_familiar=True)


def test_a_place_can_be_given_back_in_every_state_and_twice() -> None:
    line = queue()
    running, waiting = entered(line, "10.0.0.1"), entered(line, "10.0.1.1", is_familiar=True)
    line.start(0.0)
    third = entered(line, "10.0.2.1")
    for ticket in (running, waiting, third, running, third):
        line.leave(ticket)
    assert (line.running, line.waiting) == (0, 0)


def test_what_is_remembered_has_a_bound() -> None:
    line = queue(max_waiting=1)
    for number in range(25_000):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        with contextlib.suppress(RateLimited):
            line.enter(Claim(f"user{number}", f"2001:db8:{number:x}::1" if number % 2 else address), 0.0)
    assert line.waiting == 1
    assert len(line._sent_away) == 20_000
    assert len(line._accounts._known) == 20_000


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.1.2.0/24"),
        ("::ffff:10.1.2.3", "10.1.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix socket", "unix socket"),
    ],
)
def test_neighbours_share_a_network(address: str, network: str) -> None:
    assert neighbourhood_of(address) == network


class Flood:
    """Attackers and the right user at one queue, in made-up time; every hash takes ``HASH_S``."""

    def __init__(self, attempts: Iterator[tuple[float, str]], *, politely: bool = False) -> None:
        self.line = queue()
        self._arrivals = [(at_s, next(_order), address, False) for at_s, address in attempts]
        heapq.heapify(self._arrivals)
        self._politely = politely
        self._failed: set[str] = set()
        self._entered: dict[Ticket, tuple[float, bool]] = {}
        self._ends: list[tuple[float, int, Ticket]] = []
        self.checked = 0
        self.attempts_of_right = 0
        self.first_try_s: float | None = None
        self.served_s: list[float] = []  # from the attempt that was let in
        self.got_in_s: float | None = None  # from the first attempt

    def run(self, right_at_s: float, *, is_familiar: bool = False) -> None:
        heapq.heappush(self._arrivals, (right_at_s, next(_order), RIGHT, True))
        self._is_familiar = is_familiar
        while self._arrivals or self._ends:
            if self._ends and (not self._arrivals or self._ends[0][0] <= self._arrivals[0][0]):
                now_s, _, ticket = heapq.heappop(self._ends)
                self._end(ticket, now_s)
            else:
                now_s, _, address, is_right = heapq.heappop(self._arrivals)
                self._arrive(address, is_right, now_s)
            for ticket in self.line.start(now_s):
                heapq.heappush(self._ends, (now_s + HASH_S, next(_order), ticket))
            if self.got_in_s is not None:
                return

    def _arrive(self, address: str, is_right: bool, now_s: float) -> None:
        if is_right:
            self.attempts_of_right += 1
            self.first_try_s = now_s if self.first_try_s is None else self.first_try_s
        claim = Claim(
            "ada", address, is_familiar=is_right and self._is_familiar, has_failed=address in self._failed
        )
        try:
            ticket, put_out = self.line.enter(claim, now_s)
        except RateLimited:
            self._again(address, is_right, now_s)
            return
        self._entered[ticket] = (now_s, is_right)
        if put_out is not None:
            was_right = self._entered.pop(put_out)[1]
            self._again(put_out.claim.address, was_right, now_s)

    def _again(self, address: str, is_right: bool, now_s: float) -> None:
        if is_right or self._politely:
            heapq.heappush(self._arrivals, (now_s + 1.0, next(_order), address, is_right))

    def _end(self, ticket: Ticket, now_s: float) -> None:
        self.line.leave(ticket)
        self.checked += 1
        entered_s, is_right = self._entered.pop(ticket)
        if not is_right:
            self._failed.add(ticket.claim.address)
        elif self.first_try_s is not None:
            self.served_s.append(now_s - entered_s)
            self.got_in_s = now_s - self.first_try_s


_order = itertools.count()


def test_an_attack_from_few_networks_does_not_cost_the_right_user_a_second_attempt() -> None:
    """10,000 addresses in 40 networks, 400 attempts a second, twenty times what can be hashed."""
    flood = Flood((n / 400, f"10.0.{n % 40}.{n // 40 % 250}") for n in range(10_000))
    flood.run(right_at_s=10.0)
    assert flood.attempts_of_right == 1
    assert flood.served_s[0] <= 2 * HASH_S + 1e-9


def test_an_attack_from_ten_thousand_networks_costs_one_more_attempt() -> None:
    """Each attempt from a network of its own: nothing tells them from the right user, but that he comes back."""
    worst = 0
    for start_s in (3.0, 12.901):
        flood = Flood((n / 400, f"{n >> 8 & 63}.{n & 255}.{n >> 14}.1") for n in range(10_000))
        flood.run(right_at_s=start_s)
        worst = max(worst, flood.attempts_of_right)
        assert flood.served_s[0] <= 2 * HASH_S + 1e-9
        assert flood.got_in_s is not None
        assert flood.got_in_s < 1.5
    assert worst <= 2


def test_who_has_logged_in_from_there_before_notices_nothing() -> None:
    flood = Flood((n / 400, f"{n >> 8 & 63}.{n & 255}.{n >> 14}.1") for n in range(10_000))
    flood.run(right_at_s=10.0, is_familiar=True)
    assert flood.attempts_of_right == 1
    assert flood.served_s == [pytest.approx(HASH_S)]


def test_attackers_who_wait_as_they_are_told_hold_the_right_user_up_until_each_has_failed_once() -> None:
    """The worst case: 300 networks, patient, all at the same account. Then those who failed go last."""
    flood = Flood(
        ((n / 400, f"10.{n}.7.1" if n < 256 else f"11.{n - 256}.7.1") for n in range(300)), politely=True
    )
    flood.run(right_at_s=5.0)
    assert flood.served_s[0] <= 5 * HASH_S
    assert flood.got_in_s is not None
    assert flood.got_in_s <= 300 * HASH_S
