"""Each operation through the service: that it reaches its decision, with the policy in force, and is durable."""

import asyncio

import pytest

from tests.unit.security.gateway_bench import PASSWORD, Bench, call, door_call, log_in
from zejzl_ray.auth.audit_chain import seal, verify_chain
from zejzl_ray.auth.signed_requests import sign
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.audit import AnchorAudit, ChainHead, ListChains, ReadAudit, RecordAudit
from zejzl_ray.contracts.health import GetHealth
from zejzl_ray.contracts.people import CreateUser, GetUser, ListUsers, SetPassword
from zejzl_ray.contracts.policy import ExplainAccess, GetPolicy, SetPolicy
from zejzl_ray.contracts.secrets import GetSecret, ListSecrets, RevokeSecret, RotateSecret, SetSecret
from zejzl_ray.contracts.security_feed import WatchFeed
from zejzl_ray.contracts.tokens import (
    CreateCredential,
    DecideEnrolment,
    EnsureAdministrator,
    IssueToken,
    ListCredentials,
    RefreshTokens,
    RequestEnrolment,
    RevokeCredential,
    SignatureGrant,
)
from zejzl_ray.contracts.trust import (
    Evidence,
    GetTrust,
    GetTrustHistory,
    ListSecurityEvents,
    ListTrust,
    Observation,
    ReportEvidence,
    ReportObservations,
    ResetTrust,
)
from zejzl_ray.errors import Conflict, Forbidden, InvalidInput, LoginRefused, NotFound, ServiceUnavailable
from zejzl_ray.security.signing_keys import signing_key
from zejzl_ray.security.user_record import UserRecord

REPORTER = Principal(subject="service:core_orchestrator", grants=("*:*:*",))


async def test_people_are_listed_and_found() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        for user in ("bob", "ada"):
            await gateway.create_user(CreateUser(user=user, password=PASSWORD), call())
        await log_in(gateway, "ada")
        listed = await gateway.list_users(ListUsers(), call())
        assert [(each.user, each.sessions) for each in listed.users] == [("ada", 1), ("bob", 0)]
        assert (await gateway.get_user(GetUser(user="ada"), call())).sessions == 1


async def test_a_weak_password_is_refused_before_anything_is_hashed() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        with pytest.raises(InvalidInput, match="password"):
            await gateway.create_user(CreateUser(user="ada", password="short"), call())
        with pytest.raises(NotFound):
            await gateway.get_user(GetUser(user="ada"), call())


async def test_a_machine_waits_until_it_is_let_in() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        asked = await gateway.request_enrolment(
            RequestEnrolment(machine="pc3", secret_digest="ab" * 32), call(Principal(subject="anonymous"))
        )
        assert asked.state == "pending"
        let_in = await gateway.decide_enrolment(
            DecideEnrolment(machine="pc3", code=asked.code, is_approved=True), call()
        )
        assert let_in.state == "approved"
        listed = await gateway.list_credentials(ListCredentials(subject="machine:pc3"), call())
        assert listed.credentials[0].is_active
        revoked = await gateway.revoke_credential(RevokeCredential(credential_id=asked.credential_id), call())
        assert revoked.ended_credentials == 1
        assert revoked.feed_revision == (await gateway.watch(WatchFeed())).revision


async def test_the_administrator_is_made_once() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        request = EnsureAdministrator(secret_digest="cd" * 32, credential_id="cdcdcdcdcdcdcdcd")
        first = await gateway.ensure_administrator(request, call())
        assert await gateway.ensure_administrator(request, call()) == first
        assert first.subject == "user:admin"


async def test_a_policy_is_put_in_force_and_survives() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await gateway.create_user(CreateUser(user="ada", password=PASSWORD, roles=("operator",)), call())
        ada = await log_in(gateway)
        before = await gateway.get_policy(GetPolicy(), call())
        assert (before.revision, before.source) == (0, "as shipped")
        roles = dict(before.policy.roles)
        roles["operator"] = roles["viewer"]
        policy = before.policy.model_copy(update={"roles": roles})
        feed = await gateway.watch(WatchFeed())
        after = await gateway.set_policy(SetPolicy(policy=policy, source="mine"), call())
        assert (after.revision, after.source) == (1, "mine")
        news = await gateway.watch(WatchFeed(epoch=feed.epoch, revision=feed.revision))
        assert {(each.kind, each.value) for each in news.revocations} == {
            ("session", ada.session),
            ("subject", "user:ada"),
        }
        assert news.limits is not None
        assert ada.refresh_token is not None
        with pytest.raises(LoginRefused):
            await gateway.refresh_tokens(
                RefreshTokens(refresh_token=ada.refresh_token, request_id="r"), call()
            )
        again = await gateway.set_policy(SetPolicy(policy=policy), call())
        assert again.revision == 1, "the same policy is no change"
    async with bench.gateway() as gateway:
        assert (await gateway.get_policy(GetPolicy(), call())).policy == policy


async def test_a_policy_that_contradicts_itself_or_gives_too_much_is_refused() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        shipped = (await gateway.get_policy(GetPolicy(), call())).policy
        broken = shipped.model_copy(update={"kinds": {**shipped.kinds, "user": ("nosuch",)}})
        with pytest.raises(InvalidInput, match="nosuch"):
            await gateway.set_policy(SetPolicy(policy=broken), call())
        generous = shipped.model_copy(update={"subjects": {**shipped.subjects, "user:eve": ("admin",)}})
        eve = Principal(subject="user:eve", grants=("security_gateway:policy:admin",))
        with pytest.raises(Forbidden, match="user:eve"):
            await gateway.set_policy(SetPolicy(policy=generous), call(eve))
        assert (await gateway.get_policy(GetPolicy(), call())).revision == 0


async def test_everything_is_issued_anew_when_services_lose_a_right() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        shipped = (await gateway.get_policy(GetPolicy(), call())).policy
        more = shipped.model_copy(
            update={"kinds": {**shipped.kinds, "service": (*shipped.kinds["service"], "viewer")}}
        )
        await gateway.set_policy(SetPolicy(policy=more), call())
        assert (await gateway.watch(WatchFeed())).revocations == ()
        await gateway.set_policy(SetPolicy(policy=shipped), call())
        kinds = {each.kind for each in (await gateway.watch(WatchFeed())).revocations}
        assert "all" in kinds


@pytest.mark.parametrize(
    ("subject", "operation", "is_allowed"),
    [
        ("user:ada", "core_orchestrator.list_agents", True),
        ("user:ada", "security_gateway.set_policy", False),
        ("user:nobody", "core_orchestrator.list_agents", False),
        ("service:root", "security_gateway.ensure_administrator", True),
        ("program:ci", "core_orchestrator:agents:read", True),
        ("program:other", "core_orchestrator:agents:read", False),
    ],
)
async def test_access_is_explained(subject: str, operation: str, is_allowed: bool) -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await gateway.create_user(CreateUser(user="ada", password=PASSWORD, roles=("viewer",)), call())
        await gateway.create_credential(
            CreateCredential(subject="program:ci", scopes=("core_orchestrator:agents:read",)), call()
        )
        explained = await gateway.explain_access(ExplainAccess(subject=subject, operation=operation), call())
        assert explained.is_allowed is is_allowed
        assert explained.reasons


async def test_evidence_changes_a_standing_time_takes_it_back_and_followers_hear_of_both() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await gateway.tick()
        feed = await gateway.watch(WatchFeed())
        evidence = tuple(
            Evidence(evidence_id=f"e-{number}", subject="agent:Scout", is_success=False, response_s=9.0)
            for number in range(60)
        )
        accepted = await gateway.report_evidence(ReportEvidence(evidence=evidence), call(REPORTER))
        assert accepted.accepted == 60
        again = await gateway.report_evidence(ReportEvidence(evidence=evidence), call(REPORTER))
        assert again.repeated == 60
        news = await gateway.watch(WatchFeed(epoch=feed.epoch, revision=feed.revision))
        assert [(each.subject, each.can_write) for each in news.standings] == [("agent:Scout", False)]
        trust = await gateway.get_trust(GetTrust(subject="agent:Scout"), call())
        assert trust.score < 0.3
        assert len((await gateway.list_trust(ListTrust(), call())).trust) == 1
        history = await gateway.get_trust_history(GetTrustHistory(subject="agent:Scout"), call())
        assert len(history.points) == 10
    async with bench.gateway() as gateway:
        whole = await gateway.watch(WatchFeed())
        assert [each.subject for each in whole.standings] == ["agent:Scout"]
        bench.clock.advance(12 * 3600)
        await gateway.tick()
        news = await gateway.watch(WatchFeed(epoch=whole.epoch, revision=whole.revision))
        assert news.standings[0].can_write
        explained = await gateway.explain_access(
            ExplainAccess(subject="agent:Scout", operation="core_orchestrator.heartbeat"), call()
        )
        assert explained.subject == "agent:Scout"
        reset = await gateway.reset_trust(ResetTrust(subject="agent:Scout", reason="a bad hour"), call())
        assert reset.score == 0.5


async def test_observations_become_security_events_that_survive() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        now_s = bench.clock.now_s()
        seen = Observation(
            kind="login_failed", subject="agent:Scout", address="198.51.100.9", count=50, at_s=now_s
        )
        odd = Observation(kind="login_failed", subject="agent:not a name", at_s=now_s)
        report = ReportObservations(observations=(seen, odd))
        accepted = await gateway.report_observations(report, call(REPORTER))
        assert accepted.events > 0
        listed = await gateway.list_security_events(ListSecurityEvents(), call())
        assert "brute_force" in listed.counts_by_kind
        assert (await gateway.get_trust(GetTrust(subject="agent:Scout"), call())).is_known
        nothing = Observation(kind="unauthenticated", at_s=now_s)
        quiet = await gateway.report_observations(ReportObservations(observations=(nothing,)), call(REPORTER))
        assert quiet.events == 0
    async with bench.gateway() as gateway:
        again = await gateway.list_security_events(ListSecurityEvents(), call())
        assert again.counts_by_kind == listed.counts_by_kind


async def test_wrong_logins_become_an_event_without_a_word_of_what_was_typed() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        for number in range(12):
            with pytest.raises(LoginRefused):
                await gateway.issue_token(
                    IssueToken.model_validate(
                        {"grant": {"kind": "credential", "credential": f"zk_{number:016}_{'0' * 64}"}}
                    ),
                    call(Principal(subject="anonymous"), "198.51.100.9"),
                )
        await gateway.tick()
        listed = await gateway.list_security_events(ListSecurityEvents(), call())
        assert [(each.kind, each.address) for each in listed.events] == [("brute_force", "198.51.100.9")]


async def test_a_login_from_elsewhere_is_noticed() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await gateway.create_user(CreateUser(user="ada", password=PASSWORD), call())
        tokens = await log_in(gateway)
        assert tokens.refresh_token is not None
        await gateway.refresh_tokens(
            RefreshTokens(refresh_token=tokens.refresh_token, request_id="r"),
            call(Principal(subject="anonymous"), "203.0.113.4"),
        )
        await gateway.tick()
        listed = await gateway.list_security_events(ListSecurityEvents(), call())
        assert [each.kind for each in listed.events] == ["address_change"]


async def test_a_signed_request_counts_once_and_its_repetition_gets_the_stored_token() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        made = await gateway.create_credential(
            CreateCredential(subject="program:ci", is_signing=True), call()
        )

        def grant(target: str = "/v1/agents") -> SignatureGrant:
            at_s, digest, nonce = int(bench.clock.now_s()), "e3" * 32, "n" * 16
            return SignatureGrant(
                credential_id=made.credential.credential_id,
                method="GET",
                target=target,
                body_digest=digest,
                at_s=at_s,
                nonce=nonce,
                signature=sign(made.secret, "GET", target, digest, at_s, nonce),
            )

        first = await gateway.issue_token(IssueToken(grant=grant()), door_call())
        again = await gateway.issue_token(IssueToken(grant=grant()), door_call())
        assert again.access_token.get_secret_value() == first.access_token.get_secret_value()
        with pytest.raises(LoginRefused) as caught:
            await gateway.issue_token(IssueToken(grant=grant("/v1/other")), door_call())
        assert type(caught.value) is LoginRefused, "nothing of the trail leaves with the error"
        await gateway.tick()
        listed = await gateway.list_security_events(ListSecurityEvents(), call())
        assert [each.kind for each in listed.events] == ["token_replay"]
        bad = grant().model_copy(update={"signature": "0" * 64, "nonce": "m" * 16})
        with pytest.raises(LoginRefused):
            await gateway.issue_token(IssueToken(grant=bad), door_call())


async def test_secrets_are_for_their_readers_and_every_look_is_in_the_trail() -> None:
    bench = Bench()
    scout = Principal(subject="agent:Scout")
    async with bench.gateway() as gateway:
        await gateway.set_secret(
            SetSecret(name="key", subjects=("agent:Scout",), value="one"),
            call(),
        )
        assert (await gateway.get_secret(GetSecret(name="key"), call(scout))).version == 1
        with pytest.raises(NotFound) as caught:
            await gateway.get_secret(GetSecret(name="key"), call())
        assert type(caught.value) is NotFound
        await gateway.rotate_secret(RotateSecret(name="key", value="two"), call())
        value = await gateway.get_secret(GetSecret(name="key"), call(scout))
        assert value.value.get_secret_value() == "two"
        assert len((await gateway.list_secrets(ListSecrets(), call())).secrets) == 1
        await gateway.revoke_secret(RevokeSecret(name="key"), call())
        with pytest.raises(NotFound):
            await gateway.get_secret(GetSecret(name="key"), call(scout))
        page = await gateway.read_audit(ReadAudit(limit=1000), call())
        looks = [entry for entry in page.entries if entry.operation.endswith("get_secret")]
        assert len(looks) == 3


async def test_the_trail_is_one_chain_over_restarts() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await gateway.create_user(CreateUser(user="ada", password=PASSWORD), call())
    async with bench.gateway() as gateway:
        await gateway.create_user(CreateUser(user="bob", password=PASSWORD), call())
        page = await gateway.read_audit(ReadAudit(limit=1000), call())
        assert verify_chain(page.entries) is None
        assert {"keys", "people"} <= {entry.kind for entry in page.entries}
        heads = (await gateway.list_audit_chains(ListChains(), call())).heads
        assert [head.chain for head in heads] == ["security_gateway"]
        assert heads[0].index == len(page.entries)


async def test_other_processes_anchor_and_hand_over_their_chains() -> None:
    bench = Bench()
    reporter = call(Principal(subject="service:ingress"))
    async with bench.gateway() as gateway:
        entry = seal(None, "ingress.a", bench.clock.now_s(), "started")
        recorded = await gateway.record_audit(RecordAudit(entries=(entry,)), reporter)
        assert recorded.head.index == 1
        head = ChainHead(chain="ingress.a", index=1, hash=entry.hash)
        anchored = await gateway.anchor_audit(AnchorAudit(head=head), reporter)
        assert anchored.index > 0
        changed = ChainHead(chain="ingress.a", index=1, hash="0" * 64)
        with pytest.raises(Conflict):
            await gateway.anchor_audit(AnchorAudit(head=changed), reporter)
        page = await gateway.read_audit(ReadAudit(limit=1000), call())
        assert page.entries[-1].kind == "security_event", "the refusal itself is in the trail"
        own = seal(None, "security_gateway.guard", bench.clock.now_s(), "started")
        assert await gateway.chain_head("security_gateway.guard") is None
        await gateway.keep_entries(RecordAudit(entries=(own,)))
        assert (await gateway.chain_head("security_gateway.guard")) is not None
        await gateway.keep_anchor(ChainHead(chain=own.chain, index=1, hash=own.hash))


async def test_a_part_of_upkeep_that_fails_keeps_no_other_from_being_done() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:

        async def broken() -> None:
            raise ZeroDivisionError

        gateway._look_at_observed = broken  # type: ignore[method-assign]
        await gateway.tick()
        health = await gateway.health(GetHealth(), call())
        assert health.is_ready
        assert "upkeep: broken: ZeroDivisionError" in [
            f"{check.name}: {check.reason}" for check in health.checks
        ]
        del gateway._look_at_observed
        gateway._used.add("0" * 16)
        bench.clock.advance(61)
        bench.state.is_reachable = False
        await gateway.tick()
        assert gateway._tick_fault == "" or "reach" in gateway._tick_fault
        bench.state.is_reachable = True


async def test_guards_hear_that_a_credential_with_its_own_rate_has_expired() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        feed = await gateway.watch(WatchFeed())
        request = CreateCredential(subject="program:ci", calls_per_minute=60, lifetime_s=90)
        await gateway.create_credential(request, call())
        news = await gateway.watch(WatchFeed(epoch=feed.epoch, revision=feed.revision))
        assert news.limits is not None
        assert "program:ci" in news.limits.role_rates
        await gateway.tick()
        bench.clock.advance(100)
        await gateway.tick()
        later = await gateway.watch(WatchFeed(epoch=news.epoch, revision=news.revision))
        assert later.limits is not None
        assert "program:ci" not in later.limits.role_rates


async def test_what_was_used_is_written_once_the_store_is_back() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        made = await gateway.create_credential(CreateCredential(subject="program:ci"), call())
        await gateway.tick()
        bench.clock.advance(61)
        grant = {"kind": "credential", "credential": made.secret}
        await gateway.issue_token(IssueToken.model_validate({"grant": grant}), call())
        bench.state.is_reachable = False
        await gateway.tick()
        health = await gateway.health(GetHealth(), call())
        assert [check.name for check in health.checks if check.status == "degraded"] == ["upkeep"]
        bench.state.is_reachable = True
        bench.clock.advance(61)
        await gateway.tick()
        listed = await gateway.list_credentials(ListCredentials(), call())
        assert listed.credentials[0].last_used_at_s is not None


async def test_a_person_sets_the_password_of_somebody_else_without_the_old_one() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        request = CreateUser(user="ada", password=PASSWORD)
        assert await gateway.create_user(request, call()) == await gateway.create_user(request, call())
        change = SetPassword(user="ada", new_password="quite another set of words")
        await gateway.set_password(change, call())
        await log_in(gateway, password=change.new_password)
        with pytest.raises(NotFound):
            await gateway.set_password(change.model_copy(update={"user": "bob", "request_id": "r-2"}), call())


async def test_health_says_why_nothing_can_be_signed() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        record = signing_key(gateway.records, bench.clock.now_s())
        gateway.records.put(record.kid, record.model_copy(update={"private": "v1.00000000.AAAA"}))
        health = await gateway.health(GetHealth(), call())
        failed = [check for check in health.checks if check.status == "failed"]
        assert [check.name for check in failed] == ["master_key"]
        assert "key file" in failed[0].reason
        gateway.records.delete("signing_key", record.kid)
        health = await gateway.health(GetHealth(), call())
        assert [check.name for check in health.checks if check.status == "failed"] == ["signing_key"]
        assert not health.is_ready
        gateway._issuer.forget_key()
        with pytest.raises(ServiceUnavailable, match="no signing key"):
            await gateway.issue_token(bench.service_token(), call())


async def test_the_feed_is_watched_as_an_operation() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        batch = await gateway.watch_feed(WatchFeed(), call())
        assert batch.is_whole
        assert gateway._feed.epoch == batch.epoch


async def test_a_login_of_somebody_who_is_removed_meanwhile_is_refused() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await gateway.create_user(CreateUser(user="ada", password=PASSWORD), call())
        tokens = await log_in(gateway)
        record = gateway.records.get(UserRecord, "ada", bench.clock.now_s())
        assert record is not None
        gateway.records.put("ada", record.model_copy(update={"is_active": False}))
        assert tokens.refresh_token is not None
        with pytest.raises(LoginRefused):
            await gateway.refresh_tokens(
                RefreshTokens(refresh_token=tokens.refresh_token, request_id="r"), call()
            )


async def test_commands_that_are_the_same_and_wait_together_are_decided_once() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        request = CreateCredential(subject="program:ci")
        made = await asyncio.gather(*(gateway.create_credential(request, call()) for _ in range(3)))
        assert len({each.credential.credential_id for each in made}) == 1
        assert len((await gateway.list_credentials(ListCredentials(), call())).credentials) == 1
