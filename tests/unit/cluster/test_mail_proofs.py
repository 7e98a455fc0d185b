"""What a host shows another one for its agents, with a real gateway."""

import asyncio

import pytest
from structlog.testing import capture_logs

from tests.unit.auth.process_bench import ProcessBench
from tests.unit.cluster.mail_world import mail_world
from tests.unit.security.gateway_bench import call
from zejzl_ray.auth.token_source import TokenSource
from zejzl_ray.cluster import mail_proofs
from zejzl_ray.cluster.mail_proofs import MailProofs, Shown
from zejzl_ray.contracts import orchestrator, security_gateway
from zejzl_ray.contracts.agent_host import Speaker, mail_audience
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.orchestrator import AgentKind, RegisterAgent
from zejzl_ray.contracts.secrets import GetSecret
from zejzl_ray.contracts.tokens import IssueToken, RevokeTokens, Tokens
from zejzl_ray.errors import ServiceUnavailable, Unauthenticated


async def test_a_token_shown_to_one_host_counts_there_and_nowhere_else() -> None:
    async with mail_world() as world:
        (speaker,) = (await world.proofs("Camera").of(["Camera"], "b")).speakers
        shown = CallContext(token=speaker.token)
        there = (await world.process()).guard
        principal = await there.identify(shown, audiences=frozenset((mail_audience("b"),)))
        assert (principal.subject, principal.grants) == ("agent:Camera", ("mail:agents:write",))
        for others in (mail_audience("c"), "agent_host", "zejzl", mail_audience("b2")):
            with pytest.raises(Unauthenticated):
                await there.identify(shown, audiences=frozenset((others,)))
        with pytest.raises(Unauthenticated):  # at the HTTP door
            await there.identify(shown)


async def test_a_token_shown_to_a_host_registers_nobody_and_reads_no_secret() -> None:
    async with mail_world() as world:
        proofs = world.proofs("Camera")
        (speaker,) = (await proofs.of(["Camera"], "b")).speakers
        stolen = CallContext(token=speaker.token)
        register = next(each for each in orchestrator.OPERATIONS if each.name == "register_agent")
        read = next(each for each in security_gateway.OPERATIONS if each.name == "get_secret")
        own = RegisterAgent(
            name="Camera", kind=AgentKind.ACTOR, host="127.0.0.1", metadata={"agent_host": "evil"}
        )
        for service, operation, request in (
            ("core_orchestrator", register, own),
            ("security_gateway", read, GetSecret(name="key")),
        ):
            guard = (await world.process(service)).guard
            with pytest.raises(Unauthenticated):
                await guard.admit(operation, request, stolen)
            own_token = await TokenSource(world.credential("Camera"), world, world.bench.clock).token()
            await guard.admit(operation, request, CallContext(token=own_token))  # the agent itself may


async def test_an_agent_has_one_token_for_each_host_and_it_is_kept() -> None:
    async with mail_world() as world:
        proofs = world.proofs("Camera", "Radar")
        first = await proofs.of(["Camera", "Radar"], "b")
        assert await proofs.of(["Camera", "Radar"], "b") == first
        other = await proofs.of(["Camera"], "c")
        assert other.speakers[0].token != first.speakers[0].token
        assert [request.audience for request in world.asked] == [
            "agent_host.b",
            "agent_host.b",
            "agent_host.c",
        ]
        assert first.agents == {"Camera", "Radar"}
        assert (first.life_s, Shown().life_s) == (900.0, float("inf"))
        assert len(proofs) == 3
        world.bench.clock.advance(890)
        assert (await proofs.of(["Camera"], "b")).life_s == 900.0
        await proofs.close()
        assert len(proofs) == 0


async def test_a_token_that_cannot_be_had_is_left_out_once_logged_and_there_the_next_time() -> None:
    async with mail_world() as world:
        proofs = world.proofs("Camera")
        world.failure = ServiceUnavailable("the gateway starts")
        with capture_logs() as lines:
            for _ in range(3):
                assert await proofs.of(["Camera", "Stranger"], "b") == Shown()
                world.bench.clock.advance(1.1)
        assert [line["agent"] for line in lines if line["event"].startswith("no token for")] == ["Camera"]
        world.failure = None
        assert (await proofs.of(["Camera"], "b")).agents == {"Camera"}


async def test_an_exchange_that_takes_long_is_not_waited_for_and_goes_on() -> None:
    class Slow:
        def __init__(self) -> None:
            self.may_go = asyncio.Event()

        async def issue(self, request: IssueToken) -> Tokens:
            await self.may_go.wait()
            return await world.issue(request)

    async with mail_world() as world:
        slow = Slow()
        proofs = MailProofs(slow, {"Camera": world.credential("Camera")}, world.bench.clock, wait_s=0.0)
        assert await proofs.of(["Camera"], "b") == Shown()
        slow.may_go.set()
        for _ in range(1000):
            if (await proofs.of(["Camera"], "b")).speakers:
                break
            await asyncio.sleep(0)
        assert len(world.asked) == 1
        await proofs.close()


async def test_a_revoked_token_is_renewed_before_it_is_shown() -> None:
    async with mail_world() as world:
        here = await world.process()
        proofs = world.proofs("Camera", guard=here)
        before = await proofs.of(["Camera"], "b")
        await world.gateway.revoke_tokens(RevokeTokens(subject="agent:Camera"), call())
        world.bench.clock.advance(1.5)
        await world.hear(here)
        after = await proofs.of(["Camera"], "b")
        assert before.speakers[0].token != after.speakers[0].token
        assert len(world.asked) == 2


async def test_what_was_shown_to_hosts_that_nobody_writes_to_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with mail_world() as world:
        proofs = world.proofs("Camera")
        await proofs.of(["Camera"], "b")
        world.bench.clock.advance(901)
        await proofs.of(["Camera"], "c")
        assert len(proofs) == 1
        monkeypatch.setattr(mail_proofs, "_MAX_PEERS", 2)
        for host in ("d", "e", "f"):
            await proofs.of(["Camera"], host)
        assert len(proofs) == 2


async def test_where_authentication_is_off_agents_are_named_without_tokens() -> None:
    async with mail_world() as world:
        proofs = MailProofs(world, {}, world.bench.clock, is_required=False)
        assert await proofs.of(["A", "B"], "b") == Shown((Speaker(agent="A"), Speaker(agent="B")))
        assert world.asked == []


async def test_tokens_are_shown_also_before_this_process_has_heard_of_the_gateway() -> None:
    async with mail_world() as world:
        here = await world.process()
        unheard = ProcessBench()
        credentials = {"Camera": world.credential("Camera")}
        proofs = MailProofs(world, credentials, world.bench.clock, guard=unheard.guard)
        assert (await proofs.of(["Camera"], "b")).agents == {"Camera"}
        known = MailProofs(world, credentials, world.bench.clock, guard=here.guard)
        for _ in range(2):
            assert (await known.of(["Camera"], "b")).agents == {"Camera"}
        assert len(world.asked) == 2
