"""What a right, a proof or a word about others must not grow into."""

import asyncio
import hashlib
from functools import partial

import pytest
from pydantic import SecretStr

from tests.unit.security.gateway_bench import NOBODY_KNOWN, PASSWORD, Bench, call, door_call, log_in
from zejzl_ray.auth.audit_remote import RemoteAuditSink
from zejzl_ray.auth.audit_trail import AuditTrail
from zejzl_ray.auth.signed_requests import sign_request
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.audit import AnchorAudit, ChainHead, ReadAudit
from zejzl_ray.contracts.people import CreateUser, SetPassword, UpdateUser
from zejzl_ray.contracts.policy import ExplainAccess
from zejzl_ray.contracts.security_feed import WatchFeed
from zejzl_ray.contracts.tokens import (
    CreateCredential,
    CredentialGrant,
    DecideEnrolment,
    EnsureAdministrator,
    IssueToken,
    NewCredential,
    PasswordGrant,
    RefreshTokens,
    RequestEnrolment,
    Tokens,
)
from zejzl_ray.contracts.trust import (
    Evidence,
    GetTrust,
    GetTrustHistory,
    ListSecurityEvents,
    Observation,
    ReportEvidence,
    ReportObservations,
    SecurityEvents,
)
from zejzl_ray.errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    LoginRefused,
    NoCapacity,
    Overloaded,
    RateLimited,
    ServiceUnavailable,
)
from zejzl_ray.security.lockout import LockoutRecord, surplus_locks
from zejzl_ray.security.permissions import grants_of
from zejzl_ray.security.policy_file import default_policy
from zejzl_ray.security.service import SecurityGateway

WRONG = SecretStr("not the right one")
ANOTHER = SecretStr("a phrase that is long enough")


async def exchange(gateway: SecurityGateway, made: NewCredential) -> Tokens:
    return await gateway.issue_token(
        IssueToken(grant=CredentialGrant(credential=made.secret)), call(NOBODY_KNOWN)
    )


async def denials(gateway: SecurityGateway) -> list[str]:
    page = await gateway.read_audit(ReadAudit(is_newest=True, limit=500), call())
    return [entry.operation for entry in page.entries if entry.kind == "denied"]


async def test_whoever_has_seen_a_signed_request_gets_no_token_for_it() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        made = await gateway.create_credential(
            CreateCredential(subject="program:ci", roles=("operator",), is_signing=True), call()
        )
        seen = sign_request(
            made.credential.credential_id, made.secret, "GET", "/v1/agents", at_s=int(bench.clock.now_s())
        )
        request = IssueToken(grant=seen)
        passed_on = door_call()
        assert passed_on.forwarded is not None
        passed_on = passed_on.model_copy(
            update={"forwarded": passed_on.forwarded.model_copy(update={"is_exchange": False})}
        )
        unproved = call(NOBODY_KNOWN).model_copy(update={"forwarded": door_call().forwarded})
        for other in (call(), call(NOBODY_KNOWN, "192.0.2.9"), passed_on, unproved):
            with pytest.raises(LoginRefused):
                await gateway.issue_token(request, other)
        assert (await gateway.issue_token(request, door_call())).subject == "program:ci"


async def test_a_persons_credential_never_allows_more_than_the_account_does_now() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        for user in ("bob", "boss"):
            await gateway.create_user(CreateUser(user=user, password=PASSWORD, roles=("admin",)), call())
        bob = Principal(subject="user:bob", grants=("*:*:*",))
        made = await gateway.create_credential(
            CreateCredential(subject="user:bob", scopes=("*:*:*",)), call(bob)
        )
        assert (await exchange(gateway, made)).scopes == ("*:*:*",)
        await gateway.update_user(UpdateUser(user="bob", roles=("viewer",)), call())
        bench.clock.advance(2)
        after = await exchange(gateway, made)
        assert after.scopes == grants_of("user:bob", ("viewer",), default_policy())
        with pytest.raises(InvalidInput, match="does not have the right"):
            await gateway.create_credential(
                CreateCredential(subject="user:bob", scopes=("*:*:read",)), call()
            )


@pytest.mark.parametrize("roles", [(), ("viewer",)])
async def test_a_credential_that_somebody_else_made_does_not_grow_with_the_account(
    roles: tuple[str, ...],
) -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await gateway.create_user(CreateUser(user="bob", password=PASSWORD, roles=roles), call())
        held = grants_of("user:bob", roles, default_policy())
        maker = Principal(subject="user:eve", grants=(*held, "security_gateway:credentials:admin"))
        made = await gateway.create_credential(CreateCredential(subject="user:bob"), call(maker))
        await gateway.update_user(UpdateUser(user="bob", roles=("admin",)), call())
        await gateway.update_user(UpdateUser(user="bob", roles=("admin", *roles)), call())
        bench.clock.advance(2)
        assert (await exchange(gateway, made)).scopes == held


async def test_a_narrow_token_of_an_administrator_without_a_password_sets_none() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await gateway.ensure_administrator(
            EnsureAdministrator(secret_digest="a" * 64, credential_id="b" * 16), call()
        )
        request = SetPassword(user="admin", new_password=ANOTHER)
        narrow = Principal(subject="user:admin", grants=("security_gateway:self:report",))
        with pytest.raises(Forbidden):
            await gateway.set_password(request, call(narrow))
        await gateway.set_password(request, call(Principal(subject="user:admin", grants=("*:*:*",))))
        bench.clock.advance(2)
        assert (await log_in(gateway, "admin", ANOTHER)).scopes == ("*:*:*",)


async def test_a_wrong_old_password_counts_as_a_failed_login_over_a_restart() -> None:
    bench = Bench()
    owner = Principal(subject="user:ada", grants=("security_gateway:self:report",))
    request = SetPassword(user="ada", new_password=ANOTHER, old_password=WRONG)
    async with bench.gateway() as gateway:
        await gateway.create_user(CreateUser(user="ada", password=PASSWORD), call())
        for _ in range(4):
            with pytest.raises(LoginRefused):
                await gateway.set_password(request, call(owner, "192.0.2.7"))
        assert await denials(gateway) == ["security_gateway.set_password"] * 4
        with pytest.raises(LoginRefused):  # no old one at all: nothing is hashed for that
            await gateway.set_password(SetPassword(user="ada", new_password=ANOTHER), call(owner))
    async with bench.gateway() as gateway:
        with pytest.raises(RateLimited):
            await log_in(gateway, "ada", PASSWORD)


async def test_a_refused_login_is_kept_however_much_of_a_hurry_the_caller_is_in() -> None:
    bench = Bench()
    request = IssueToken(grant=PasswordGrant(user="ada", password=WRONG))
    late = call(NOBODY_KNOWN, "192.0.2.7").model_copy(update={"deadline_at_s": bench.clock.now_s() - 1})
    async with bench.gateway() as gateway:
        await gateway.create_user(CreateUser(user="ada", password=PASSWORD), call())
        for _ in range(4):
            with pytest.raises(LoginRefused):
                await gateway.issue_token(request, late)
        assert await denials(gateway) == ["security_gateway.issue_token"] * 4
        right = IssueToken(grant=PasswordGrant(user="ada", password=PASSWORD))
        elsewhere = late.model_copy(
            update={"principal": NOBODY_KNOWN.model_copy(update={"address": "192.0.2.8"})}
        )
        with pytest.raises(DeadlineExceeded):
            await gateway.issue_token(right, elsewhere)
    async with bench.gateway() as gateway:
        with pytest.raises(RateLimited):
            await log_in(gateway, "ada", PASSWORD)


async def test_every_kind_of_proof_that_does_not_count_is_a_denial_in_the_trail() -> None:
    bench = Bench()
    grants = (
        CredentialGrant(credential=SecretStr(f"zk_{'a' * 16}_{'b' * 64}")),
        sign_request("a" * 16, SecretStr("b" * 64), "GET", "/", at_s=int(bench.clock.now_s())),
    )
    async with bench.gateway() as gateway:
        for grant in grants:
            with pytest.raises(LoginRefused):
                await gateway.issue_token(IssueToken(grant=grant), door_call())
        refresh = RefreshTokens(refresh_token=SecretStr("zr_nothing"), request_id="r1")
        for _ in range(150):
            with pytest.raises(LoginRefused):
                await gateway.refresh_tokens(refresh, door_call())
    told = [each["reason"] for each in bench.audit.told if each["kind"] == "denied"]
    assert told == ["credential", "signature", *["refresh token"] * 100]
    assert "bbb" not in str(bench.audit.told)


async def test_who_may_say_what_was_refused_has_no_say_in_the_trust_in_others() -> None:
    bench = Bench()
    now_s = bench.clock.now_s()
    report = ReportObservations(
        observations=tuple(
            Observation(kind="login_failed", subject="machine:mainpc", at_s=now_s - 60 * number)
            for number in range(200)
        )
    )
    asked = GetTrust(subject="machine:mainpc")
    async with bench.gateway() as gateway:
        machine = Principal(subject="machine:pc2", grants=("security_gateway:threats:report",))
        itself = Principal(subject="machine:mainpc", grants=("*:*:*",))
        for reporter in (machine, itself):
            await gateway.report_observations(report, call(reporter))
            assert not (await gateway.get_trust(asked, call())).is_known
        observer = Principal(subject="service:error_bus", grants=("*:*:*",))
        await gateway.report_observations(report, call(observer))
        trust = await gateway.get_trust(asked, call())
        assert trust.samples == pytest.approx(0.1)  # once a minute, whatever times it states


async def test_what_is_kept_has_times_that_anybody_can_show() -> None:
    bench = Bench()
    now_s = bench.clock.now_s()
    times = (-1e308, 1e308)
    seen = [
        Observation(kind="seen", subject="user:ada", address=f"{number}.0.2.7", at_s=at_s)
        for number, at_s in enumerate((*times, now_s), start=1)
    ]
    failed = [Observation(kind="login_failed", subject="user:ada", count=99, at_s=at_s) for at_s in times]
    evidence = tuple(
        Evidence(evidence_id=str(at_s), subject="agent:Scout", is_success=False, at_s=at_s) for at_s in times
    )
    async with bench.gateway() as gateway:
        await gateway.report_observations(ReportObservations(observations=(*seen, *failed)), call())
        events = (await gateway.list_security_events(ListSecurityEvents(), call())).events
        assert {event.kind for event in events} == {"address_change", "brute_force"}
        assert all(now_s - 3600 <= event.first_at_s <= event.last_at_s <= now_s for event in events)
        await gateway.report_evidence(ReportEvidence(evidence=evidence), call())
        history = await gateway.get_trust_history(GetTrustHistory(subject="agent:Scout"), call())
        assert {point.at_s for point in history.points} == {now_s - 30 * 86_400, now_s}


async def test_an_event_that_cannot_be_stored_is_stored_later() -> None:
    bench = Bench()

    async def events(gateway: SecurityGateway) -> SecurityEvents:
        return await gateway.list_security_events(ListSecurityEvents(), call())

    async with bench.gateway() as gateway:
        await gateway.create_user(CreateUser(user="ada", password=PASSWORD), call())
        tokens = await log_in(gateway, "ada")
        assert tokens.refresh_token is not None
        for number in range(2):
            request = RefreshTokens(refresh_token=tokens.refresh_token, request_id=f"r{number}")
            if number:
                with pytest.raises(LoginRefused):
                    await gateway.refresh_tokens(request, door_call())
            else:
                await gateway.refresh_tokens(request, door_call())
        bench.store.lose = "before"
        await gateway.tick()
        assert not (await events(gateway)).events
        bench.store.lose = ""
        await gateway.tick()
        assert [event.kind for event in (await events(gateway)).events] == ["token_replay"]


async def test_a_gateway_that_may_have_been_replaced_vouches_for_nothing() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        made = await gateway.create_credential(CreateCredential(subject="program:ci"), call())
        await gateway.tick()
        bench.store.lose = "before"
        for seconds in (10, 11):
            bench.clock.advance(seconds)
            await gateway.tick()
            if seconds == 10:  # an answer that is lost once in a while stops nobody
                assert (await exchange(gateway, made)).subject == "program:ci"
        with pytest.raises(ServiceUnavailable, match="replaced"):
            await gateway.watch(WatchFeed(timeout_s=0))
        with pytest.raises(ServiceUnavailable, match="replaced"):
            await exchange(gateway, made)
        bench.store.lose = ""
        await gateway.tick()
        assert (await gateway.watch(WatchFeed(timeout_s=0))).is_whole
        assert (await exchange(gateway, made)).subject == "program:ci"


async def test_one_network_cannot_take_all_places_of_new_machines_and_refusing_frees_them() -> None:
    bench = Bench()

    async def ask(gateway: SecurityGateway, number: int, address: str) -> str:
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        request = RequestEnrolment(machine=f"m{number}", secret_digest=digest)
        return (await gateway.request_enrolment(request, call(NOBODY_KNOWN, address))).code

    async with bench.gateway() as gateway:
        codes = [await ask(gateway, number, f"2001:db8::{number:x}") for number in range(8)]
        with pytest.raises(Overloaded):
            await ask(gateway, 8, "2001:db8::ffff")
        await ask(gateway, 9, "2001:db8:1::1")
        await gateway.decide_enrolment(
            DecideEnrolment(machine="m0", code=codes[0], is_approved=False), call()
        )
        await ask(gateway, 8, "2001:db8::ffff")


async def test_a_flood_of_lockouts_does_not_fill_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zejzl_ray.security.upkeep.surplus_locks", partial(surplus_locks, most=5))
    bench = Bench()
    async with bench.gateway() as gateway:
        for number in range(8):
            for _ in range(4):
                request = IssueToken(grant=PasswordGrant(user="ada", password=WRONG))
                with pytest.raises(LoginRefused):
                    await gateway.issue_token(request, call(NOBODY_KNOWN, f"192.0.2.{number}"))
        assert gateway.records.count(LockoutRecord) == 8
        await gateway.tick()
        assert gateway.records.count(LockoutRecord) == 5


async def test_nobody_takes_the_room_of_all_audit_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zejzl_ray.security.kept_chains.MAX_CHAINS_OF_ONE", 2)
    bench = Bench()

    async def anchor(gateway: SecurityGateway, machine: str, run: int) -> None:
        head = ChainHead(chain=f"node_agent.{machine}.{run}", index=1, hash="a" * 64)
        await gateway.anchor_audit(AnchorAudit(head=head), call(Principal(subject=f"machine:{machine}")))

    async with bench.gateway() as gateway:
        for run in range(2):
            await anchor(gateway, "pc2", run)
        with pytest.raises(NoCapacity, match="machine:pc2"):
            await anchor(gateway, "pc2", 2)
        await anchor(gateway, "pc2", 1)
        await anchor(gateway, "pc3", 0)


async def test_a_process_that_was_silent_for_months_goes_on_with_its_trail() -> None:
    bench = Bench()
    ingress = call(Principal(subject="service:ingress"))
    async with bench.gateway() as gateway:
        trail = AuditTrail(
            "ingress.one",
            RemoteAuditSink(lambda request: gateway.record_audit(request, ingress)),
            bench.clock,
        )
        await trail.start()
        bench.clock.advance(31 * 86_400)
        await gateway.tick()  # gives the chain up
        trail.record("denied", subject="user:bob")
        await trail.flush()
        assert trail.fault
        await trail.flush()
        assert (trail.fault, trail.waiting) == ("", 0)
        page = await gateway.read_audit(ReadAudit(chain="ingress.one", limit=10), call())
        assert [(entry.index, entry.subject) for entry in page.entries] == [(1, "user:bob")]


async def test_one_verifier_cannot_take_the_places_of_all() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        whole = await gateway.watch(WatchFeed())
        waiting = WatchFeed(epoch=whole.epoch, revision=whole.revision, timeout_s=30)
        greedy, other = (Principal(subject=f"machine:{name}") for name in ("pc2", "pc3"))
        tasks = [asyncio.create_task(gateway.watch_feed(waiting, call(greedy))) for _ in range(128)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="machine:pc2"):
            await gateway.watch_feed(waiting, call(greedy))
        at_once = waiting.model_copy(update={"timeout_s": 0})
        assert (await gateway.watch_feed(at_once, call(other))).revision == whole.revision
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (await gateway.watch_feed(at_once, call(greedy))).revision == whole.revision


async def test_an_explanation_takes_an_agent_for_no_person_of_its_name() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await gateway.create_credential(CreateCredential(subject="agent:bob"), call())
        asked = ExplainAccess(subject="agent:bob", operation="security_gateway.get_user", target="bob")
        answer = await gateway.explain_access(asked, call())
        assert not answer.is_allowed
        assert any("the name of a user" in reason.text for reason in answer.reasons)
