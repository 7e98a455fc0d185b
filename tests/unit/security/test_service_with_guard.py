"""The whole way in one process: the gateway issues, a guard that follows its feed admits, a revocation shuts out."""

from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from tests.unit.security.gateway_bench import PASSWORD, Bench, call, log_in
from zejzl_ray.auth.audit_remote import RemoteAuditSink
from zejzl_ray.auth.feed_follower import FeedFollower
from zejzl_ray.auth.process_security import ProcessSecurity, SecurityPorts
from zejzl_ray.auth.signed_requests import sign_request
from zejzl_ray.contracts.access import AuthenticatedCall
from zejzl_ray.contracts.call import CallContext, Forwarded
from zejzl_ray.contracts.people import CreateUser
from zejzl_ray.contracts.security_gateway import OPERATIONS
from zejzl_ray.contracts.tokens import (
    CreateCredential,
    IssueToken,
    ListSessions,
    RefreshTokens,
    RevokeTokens,
    RotateKeys,
    Tokens,
    WhoAmI,
)
from zejzl_ray.contracts.trust import Evidence, ReportEvidence, ResetTrust
from zejzl_ray.errors import Forbidden, LoginRefused, TokenExpired, TokenRevoked, Unauthenticated
from zejzl_ray.security.service import SecurityGateway

BY_NAME = {operation.name: operation for operation in OPERATIONS}


@dataclass
class Process:
    """A process with a guard that follows the gateway of the same process."""

    bench: Bench
    gateway: SecurityGateway

    def __post_init__(self) -> None:
        sink = RemoteAuditSink(self.gateway.keep_entries, self.gateway.chain_head)
        ports = SecurityPorts(feed=self.gateway, audit=sink, anchor=self.gateway.keep_anchor)
        self.security = ProcessSecurity("security_gateway", "security_gateway.guard", ports, self.bench.clock)
        self.follower = FeedFollower(self.gateway, self.security.state, self.bench.clock, timeout_s=0.0)

    async def admit(self, token: SecretStr) -> AuthenticatedCall:
        await self.follower.read_once()
        return await self.security.admit(BY_NAME["who_am_i"], WhoAmI(), CallContext(token=token))


async def test_a_token_counts_until_it_is_revoked_and_the_next_one_counts_again() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        process = Process(bench, gateway)
        tokens = await gateway.issue_token(bench.service_token(), call())
        admitted = await process.admit(tokens.access_token)
        identity = await gateway.who_am_i(WhoAmI(), admitted)
        assert identity.subject == "service:core_orchestrator"
        with pytest.raises(Forbidden):
            await process.security.admit(
                BY_NAME["list_sessions"], ListSessions(), CallContext(token=tokens.access_token)
            )
        await gateway.revoke_tokens(RevokeTokens(subject=tokens.subject), call())
        with pytest.raises(TokenRevoked):
            await process.admit(tokens.access_token)
        again = await gateway.issue_token(bench.service_token(), call())
        await process.admit(again.access_token)


@pytest.mark.parametrize("by", ["token_id", "session", "subject", "everything_before_s"])
async def test_each_way_of_revoking_shuts_a_login_out(by: str) -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await gateway.create_user(CreateUser(user="ada", password=PASSWORD), call())
        process = Process(bench, gateway)
        tokens = await log_in(gateway)
        principal = (await process.admit(tokens.access_token)).principal
        bench.clock.advance(1.2)
        value = {
            "token_id": principal.token_id,
            "session": principal.session,
            "subject": principal.subject,
            "everything_before_s": bench.clock.now_s(),
        }[by]
        await gateway.revoke_tokens(RevokeTokens.model_validate({by: value}), call())
        with pytest.raises(TokenRevoked):
            await process.admit(tokens.access_token)
        await process.admit((await log_in(gateway)).access_token)


async def test_revocations_are_known_to_a_guard_that_starts_after_a_restart() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        tokens = await gateway.issue_token(bench.service_token(), call())
        await gateway.revoke_tokens(RevokeTokens(subject=tokens.subject), call())
    async with bench.gateway() as gateway:
        with pytest.raises(TokenRevoked):
            await Process(bench, gateway).admit(tokens.access_token)


async def test_keys_turn_under_a_guard_and_stolen_ones_end() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        process = Process(bench, gateway)
        old = await gateway.issue_token(bench.service_token(), call())
        await gateway.rotate_keys(RotateKeys(), call())
        bench.clock.advance(61)
        await gateway.tick()
        new = await gateway.issue_token(bench.service_token(), call())
        for tokens in (old, new):
            await process.admit(tokens.access_token)
        bench.clock.advance(5)
        await gateway.rotate_keys(RotateKeys(is_immediate=True), call())
        for tokens in (old, new):
            with pytest.raises(Unauthenticated):
                await process.admit(tokens.access_token)
        await process.admit((await gateway.issue_token(bench.service_token(), call())).access_token)


async def test_a_replayed_refresh_token_ends_the_access_tokens_of_its_family() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await gateway.create_user(CreateUser(user="ada", password=PASSWORD), call())
        process = Process(bench, gateway)
        first = await log_in(gateway)
        assert first.refresh_token is not None
        second = await gateway.refresh_tokens(
            RefreshTokens(refresh_token=first.refresh_token, request_id="r-1"), call()
        )
        await process.admit(second.access_token)
        with pytest.raises(Unauthenticated):
            await gateway.refresh_tokens(
                RefreshTokens(refresh_token=first.refresh_token, request_id="r-2"), call()
            )
        with pytest.raises(TokenRevoked):
            await process.admit(second.access_token)


async def test_a_token_expires_and_a_standing_changes_what_it_may_do() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        process = Process(bench, gateway)
        tokens = await gateway.issue_token(bench.service_token("root", lifetime_s=60), call())
        admitted = await process.admit(tokens.access_token)
        evidence = tuple(
            Evidence(evidence_id=f"e-{number}", subject="machine:pc3", is_success=False)
            for number in range(60)
        )
        await gateway.report_evidence(ReportEvidence(evidence=evidence), admitted)
        await process.follower.read_once()
        assert not process.security.state.standing_of("machine:pc3").can_write
        await gateway.reset_trust(ResetTrust(subject="machine:pc3", reason="tried"), call())
        await process.follower.read_once()
        assert process.security.state.standing_of("machine:pc3").can_write
        bench.clock.advance(61)
        with pytest.raises(TokenExpired):
            await process.admit(tokens.access_token)


async def test_the_guards_own_chain_is_kept_and_anchored_by_the_gateway() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        process = Process(bench, gateway)
        await process.security.audit.start()
        tokens = await gateway.issue_token(bench.service_token("root"), call())
        await process.admit(tokens.access_token)
        await process.security.audit.flush()
        assert await gateway.chain_head("security_gateway.guard") is not None
        await process.security.stop()


async def test_a_signed_request_is_exchanged_by_the_ingress_alone() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        process = Process(bench, gateway)
        made = await gateway.create_credential(
            CreateCredential(subject="program:ci", roles=("viewer",), is_signing=True), call()
        )
        credential_id = made.credential.credential_id

        async def exchange(service: str, *, is_exchange: bool) -> Tokens:
            door = await gateway.issue_token(bench.service_token(service), call())
            forwarded = Forwarded(address="192.0.2.7", proof=door.access_token, is_exchange=is_exchange)
            at_s = int(bench.clock.now_s())
            signed = sign_request(credential_id, made.secret, "GET", "/v1/agents", at_s=at_s)
            request = IssueToken(grant=signed)
            await process.follower.read_once()
            asked = CallContext(forwarded=forwarded)
            return await gateway.issue_token(
                request, await process.security.admit(BY_NAME["issue_token"], request, asked)
            )

        assert (await exchange("ingress", is_exchange=True)).subject == "program:ci"
        for service, is_exchange in (("ingress", False), ("core_orchestrator", True)):
            with pytest.raises(LoginRefused):
                await exchange(service, is_exchange=is_exchange)
