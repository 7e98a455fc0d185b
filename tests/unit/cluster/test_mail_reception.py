"""Whose mail comes in: proofs that others show, looked at with real keys and tokens."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import SecretStr

from tests.unit.auth.process_bench import ProcessBench
from zejzl_ray.bus.mailbox import Mailbox
from zejzl_ray.cluster import mail_reception
from zejzl_ray.cluster.mail_reception import ProvedSpeakers, Reception
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.agent_host import OpenMail, Speaker, mail_audience
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.security_feed import Revocation
from zejzl_ray.errors import NotFound, Overloaded, SenderRefused, ServiceUnavailable, Unauthenticated

HERE = "b"
BOX: Any = Mailbox("Planner")
VAULT: Any = Mailbox("Vault", mail_scope="vault")


@dataclass
class CountingGuard:
    """The guard of a bench; counts the looks at tokens, and fails on request."""

    bench: ProcessBench
    first: int = 0
    again: list[str] = field(default_factory=list)
    failure: Exception | None = None

    @property
    def is_required(self) -> bool:
        return self.bench.guard.is_required

    async def identify(self, call: CallContext, address: str = "", *, audiences: frozenset[str]) -> Principal:
        self.first += 1
        if self.failure is not None:
            raise self.failure
        return await self.bench.guard.identify(call, address, audiences=audiences)

    def identify_again(self, call: CallContext, audiences: frozenset[str]) -> Principal:
        if self.failure is not None:
            raise self.failure
        principal = self.bench.guard.identify_again(call, audiences)
        self.again.append(principal.subject)
        return principal


@pytest.fixture
def bench() -> ProcessBench:
    made = ProcessBench()
    made.hear()
    return made


@pytest.fixture
def guard(bench: ProcessBench) -> CountingGuard:
    return CountingGuard(bench)


def speaker(
    bench: ProcessBench, agent: str, *, subject: str = "", shown_to: str = HERE, **changes: Any
) -> Speaker:
    token = bench.token(
        subject or f"agent:{agent}", ("mail:agents:write",), audience=mail_audience(shown_to), **changes
    )
    return Speaker(agent=agent, token=SecretStr(token))


def speakers_of(guard: CountingGuard) -> ProvedSpeakers:
    return ProvedSpeakers("a", guard, guard.bench.clock, here=HERE)


async def test_only_tokens_of_that_agent_that_were_made_for_this_host_are_proofs(
    guard: CountingGuard,
) -> None:
    bench = guard.bench
    speakers = speakers_of(guard)
    for_all = SecretStr(bench.token("agent:Bearer", ("mail:agents:write",)))
    await speakers.prove(
        [
            speaker(bench, "Camera"),
            speaker(bench, "Replayed", shown_to="c"),
            speaker(bench, "Other", subject="agent:Camera"),
            Speaker(agent="Bearer", token=for_all),
            Speaker(agent="Bare"),
        ]
    )
    assert speakers.agents == {"Camera"}
    assert speakers.why_refused("Camera", BOX) == ""
    assert "agent:Camera's" in speakers.why_refused("Other", BOX)
    for refused in ("Replayed", "Other", "Bearer", "Bare"):
        assert speakers.why_refused(refused, BOX)
        assert not speakers.is_unproved(refused)
    assert not speakers.has_missed
    assert "no proof" in speakers.why_refused("Stranger", BOX)
    assert speakers.is_unproved("Stranger")
    assert speakers.has_missed


async def test_the_receivers_scope_is_asked_of_the_token(guard: CountingGuard) -> None:
    speakers = speakers_of(guard)
    await speakers.prove([speaker(guard.bench, "Camera")])
    assert speakers.why_refused("Camera", VAULT) == "Camera lacks the scope mail:vault:write"
    assert speakers.why_refused("Camera", None) == ""


async def test_a_revocation_counts_a_second_later_for_the_agent_that_writes(guard: CountingGuard) -> None:
    bench, speakers = guard.bench, speakers_of(guard)
    await speakers.prove([speaker(bench, "Camera", session="s7")])
    speakers.begin_batch()
    assert speakers.why_refused("Camera", BOX) == ""
    now_s = bench.clock.now_s()
    bench.hear(revocations=(Revocation(kind="session", value="s7", until_s=now_s + 900),))
    bench.clock.advance(1.0)
    speakers.begin_batch()
    assert "revoked" in speakers.why_refused("Camera", BOX)
    assert not speakers.is_unproved("Camera")


async def test_a_token_that_has_ended_makes_its_agent_unproved_until_the_next_is_shown(
    guard: CountingGuard,
) -> None:
    bench, speakers = guard.bench, speakers_of(guard)

    def state() -> tuple[str, bool, bool]:
        why = speakers.why_refused("Camera", BOX)
        return why[-26:], speakers.is_unproved("Camera"), speakers.has_missed

    await speakers.prove([speaker(bench, "Camera")])
    assert state() == ("", False, False)
    bench.clock.advance(901)
    speakers.begin_batch()
    assert state() == ("he access token has expired."[-26:], True, True)
    await speakers.prove([speaker(bench, "Camera")])
    assert state() == ("", False, False)


async def test_each_second_only_those_are_looked_at_who_write(guard: CountingGuard) -> None:
    speakers = speakers_of(guard)
    await speakers.prove([speaker(guard.bench, f"A{number}") for number in range(100)])
    assert guard.first == 100
    for _ in range(3):
        guard.bench.clock.advance(1.0)
        for _ in range(5):
            speakers.begin_batch()
            assert speakers.why_refused("A1", BOX) == speakers.why_refused("A2", BOX) == ""
    assert guard.again == ["agent:A1", "agent:A2"] * 3
    assert guard.first == 100


async def test_where_nothing_can_be_said_what_was_known_counts(guard: CountingGuard) -> None:
    speakers = speakers_of(guard)
    await speakers.prove([speaker(guard.bench, "Camera")])
    guard.failure = ServiceUnavailable("not read yet")
    guard.bench.clock.advance(1.0)
    speakers.begin_batch()
    assert speakers.why_refused("Camera", BOX) == ""
    await speakers.prove([speaker(guard.bench, "Camera")])
    assert speakers.why_refused("Camera", BOX)
    assert speakers.is_unproved("Camera")


async def test_without_authentication_names_are_enough_and_a_bad_token_is_not() -> None:
    bench = ProcessBench(is_required=False)
    bench.hear()
    guard = CountingGuard(bench)
    speakers = speakers_of(guard)
    await speakers.prove([Speaker(agent="A"), speaker(bench, "B", shown_to="c")])
    bench.clock.advance(1.0)
    speakers.begin_batch()
    assert speakers.why_refused("A", VAULT) == ""
    assert speakers.why_refused("B", BOX)


async def test_decisions_are_forgotten_above_a_bound(
    guard: CountingGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_reception, "_MAX_DECIDED", 2)
    speakers = speakers_of(guard)
    for number in range(5):
        assert speakers.why_refused(f"S{number}", BOX)
        assert len(speakers._decided) <= 2


# --- connections ---


def host(name: str) -> Principal:
    return Principal(subject=f"service:host.{name}")


async def test_a_host_opens_a_connection_in_its_own_name_only(guard: CountingGuard) -> None:
    reception = Reception(HERE, guard, guard.bench.clock)
    connection = await reception.open(OpenMail(host="a", boot="x"), host("a"))
    assert reception.find(connection.id, host("a")) is connection
    with pytest.raises(SenderRefused):
        await reception.open(OpenMail(host="a", boot="x"), host("c"))
    with pytest.raises(NotFound):
        reception.find(connection.id, host("c"))


async def test_connections_end_with_their_time_their_host_or_the_next_one(guard: CountingGuard) -> None:
    reception = Reception(HERE, guard, guard.bench.clock, valid_s=10.0)
    first = await reception.open(OpenMail(host="a", boot="x"), host("a"))
    second = await reception.open(OpenMail(host="a", boot="y"), host("a"))
    with pytest.raises(NotFound):
        reception.find(first.id, host("a"))
    reception.forget("a")
    reception.forget("a")
    with pytest.raises(NotFound):
        reception.find(second.id, host("a"))
    third = await reception.open(OpenMail(host="a", boot="y"), host("a"))
    guard.bench.clock.advance(10.0)
    with pytest.raises(NotFound):
        reception.find(third.id, host("a"))


async def test_the_places_of_connections_that_ended_are_free_again(
    guard: CountingGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_reception, "_MAX_CONNECTIONS", 3)
    reception = Reception(HERE, guard, guard.bench.clock, valid_s=10.0)
    for name in ("a", "c", "d"):
        await reception.open(OpenMail(host=name, boot="x"), host(name))
    with pytest.raises(Overloaded):
        await reception.open(OpenMail(host="e", boot="x"), host("e"))
    await reception.open(OpenMail(host="a", boot="x"), host("a"))  # it has a place
    guard.bench.clock.advance(10.0)
    await reception.open(OpenMail(host="e", boot="x"), host("e"))
    assert len(reception) == 1


# --- the guard's part ---


async def test_the_guard_looks_again_without_a_word_to_the_trail(bench: ProcessBench) -> None:
    audience = frozenset((mail_audience(HERE),))
    call = CallContext(token=speaker(bench, "Camera").token)
    assert bench.guard.identify_again(call, audience).subject == "agent:Camera"
    with pytest.raises(Unauthenticated):
        bench.guard.identify_again(call, frozenset((mail_audience("c"),)))
    with pytest.raises(Unauthenticated):
        bench.guard.identify_again(CallContext(), audience)
    with pytest.raises(ServiceUnavailable):
        ProcessBench().guard.identify_again(call, audience)
    assert ProcessBench(is_required=False).guard.identify_again(CallContext(), audience).subject == "user:dev"
    assert bench.trail.entries == []
