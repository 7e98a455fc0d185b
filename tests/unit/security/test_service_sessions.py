import pytest

from tests.unit.security.gateway_bench import ADMIN, PASSWORD, Bench, call, log_in
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.people import CreateUser, DeleteUser, SetPassword, UpdateUser
from zejzl_ray.contracts.security_feed import FeedBatch, Revocation, WatchFeed
from zejzl_ray.contracts.tokens import (
    CreateCredential,
    CredentialGrant,
    EndSession,
    IssueToken,
    ListOwnSessions,
    ListSessions,
    RefreshTokens,
    RevokeTokens,
    Tokens,
)
from zejzl_ray.errors import InvalidInput, LoginRefused, NotFound, Overloaded
from zejzl_ray.security.config import SecurityConfig
from zejzl_ray.security.service import SecurityGateway


async def whole(gateway: SecurityGateway) -> FeedBatch:
    return await gateway.watch(WatchFeed())


async def revocations(gateway: SecurityGateway) -> tuple[Revocation, ...]:
    return (await whole(gateway)).revocations


async def people(gateway: SecurityGateway, *names: str) -> None:
    for name in names:
        await gateway.create_user(CreateUser(user=name, password=PASSWORD, roles=("operator",)), call())


async def refresh(gateway: SecurityGateway, tokens: Tokens, request_id: str = "again") -> Tokens:
    assert tokens.refresh_token is not None
    return await gateway.refresh_tokens(
        RefreshTokens(refresh_token=tokens.refresh_token, request_id=request_id), call()
    )


def as_ada(session: str = "") -> Principal:
    return Principal(subject="user:ada", grants=("*:*:*",), session=session)


async def test_sessions_are_listed_newest_first_in_pages() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await people(gateway, "ada", "bob")
        made = []
        for user in ("ada", "bob", "ada"):
            bench.clock.advance(1)
            made.append((await log_in(gateway, user)).session)
        first = await gateway.list_sessions(ListSessions(limit=2), call())
        assert [each.session for each in first.sessions] == [made[2], made[1]]
        assert first.sessions[0].address == "192.0.2.7"
        second = await gateway.list_sessions(ListSessions(limit=2, cursor=first.next_cursor), call())
        assert [each.session for each in second.sessions] == [made[0]]
        assert second.next_cursor == ""
        of_bob = await gateway.list_sessions(ListSessions(subject="user:bob"), call())
        assert [each.session for each in of_bob.sessions] == [made[1]]
        own = await gateway.list_own_sessions(ListOwnSessions(), call(as_ada()))
        assert [each.session for each in own.sessions] == [made[2], made[0]]


async def test_an_ended_session_cannot_be_renewed_and_its_tokens_are_revoked() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await people(gateway, "ada")
        tokens = await log_in(gateway)
        request = EndSession(session=tokens.session)
        ended = await gateway.end_session(request, call())
        assert ended.ended_sessions == 1
        assert ended.feed_revision == (await whole(gateway)).revision
        assert [each.value for each in await revocations(gateway)] == [tokens.session]
        with pytest.raises(LoginRefused):
            await refresh(gateway, tokens)
        again = await gateway.end_session(EndSession(session=tokens.session), call())
        assert again.ended_sessions == 0
        assert (await gateway.end_session(request, call())).ended_sessions == 1, "the answer of then"
        listed = (await gateway.list_sessions(ListSessions(), call())).sessions[0]
        assert (listed.is_active, listed.ended_because) == (False, "ended by user:root")


async def test_one_ends_only_ones_own_session_without_further_rights() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await people(gateway, "ada", "bob")
        ada, bob = await log_in(gateway, "ada"), await log_in(gateway, "bob")
        with pytest.raises(NotFound):
            await gateway.end_own_session(EndSession(session=bob.session), call(as_ada()))
        with pytest.raises(NotFound):
            await gateway.end_session(EndSession(session="nosuch"), call())
        await gateway.end_own_session(EndSession(session=ada.session), call(as_ada()))
        await refresh(gateway, bob)


async def test_one_login_too_many_ends_the_oldest() -> None:
    bench = Bench(config=SecurityConfig(sessions_per_user=2))
    async with bench.gateway() as gateway:
        await people(gateway, "ada")
        tokens = [await log_in(gateway) for _ in range(3)]
        with pytest.raises(LoginRefused):
            await refresh(gateway, tokens[0])
        await refresh(gateway, tokens[1])
        await refresh(gateway, tokens[2])


async def test_a_session_ends_when_idle_and_at_its_longest_life() -> None:
    bench = Bench(config=SecurityConfig(session_idle_s=100, session_life_s=250))
    async with bench.gateway() as gateway:
        await people(gateway, "ada")
        idle = await log_in(gateway)
        bench.clock.advance(101)
        with pytest.raises(LoginRefused):
            await refresh(gateway, idle)
        tokens = await log_in(gateway)
        for step in range(2):
            bench.clock.advance(90)
            tokens = await refresh(gateway, tokens, f"r-{step}")
        bench.clock.advance(65)
        last = await refresh(gateway, tokens, "r-3")
        assert last.refresh_expires_at_s is not None
        assert last.expires_at_s <= last.refresh_expires_at_s + 1, "no token outlives its session"
        bench.clock.advance(6)
        with pytest.raises(LoginRefused):
            await refresh(gateway, last, "r-4")
        listed = (await gateway.list_sessions(ListSessions(), call())).sessions
        assert {each.ended_because for each in listed} == {"expired"}


@pytest.mark.parametrize(
    "fields",
    [{}, {"token_id": "a", "session": "b"}, {"everything_before_s": 4e9}],
)
async def test_a_revocation_names_exactly_one_thing_that_is_over(fields: dict[str, object]) -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        with pytest.raises(InvalidInput):
            await gateway.revoke_tokens(RevokeTokens.model_validate(fields), call())
        assert await revocations(gateway) == ()


async def test_a_token_is_revoked_by_its_id_until_it_has_expired_anyhow() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await gateway.revoke_tokens(RevokeTokens(token_id="jti-1"), call())
        (revocation,) = await revocations(gateway)
        assert (revocation.kind, revocation.value) == ("token", "jti-1")
        bench.clock.advance(3600)
        assert await revocations(gateway) != ()
        bench.clock.advance(10)
        assert await revocations(gateway) == ()
        await gateway.tick()


async def test_revoking_a_subject_ends_its_logins_and_credentials() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await people(gateway, "ada")
        tokens = await log_in(gateway)
        made = await gateway.create_credential(CreateCredential(subject="user:ada"), call())
        revoked = await gateway.revoke_tokens(RevokeTokens(subject="user:ada"), call())
        assert (revoked.ended_sessions, revoked.ended_credentials) == (1, 1)
        with pytest.raises(LoginRefused):
            await refresh(gateway, tokens)
        with pytest.raises(LoginRefused):
            await gateway.issue_token(IssueToken(grant=CredentialGrant(credential=made.secret)), call())
        again = await log_in(gateway)
        subject = next(each for each in await revocations(gateway) if each.kind == "subject")
        assert again.issued_at_s > subject.before_s, "a new login counts at once"


async def test_a_session_or_a_credential_is_revoked_by_the_id_in_its_tokens() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await people(gateway, "ada")
        tokens = await log_in(gateway)
        made = await gateway.create_credential(CreateCredential(subject="agent:Scout"), call())
        first = await gateway.revoke_tokens(RevokeTokens(session=tokens.session), call())
        assert (first.ended_sessions, first.ended_credentials) == (1, 0)
        credential_id = made.credential.credential_id
        second = await gateway.revoke_tokens(RevokeTokens(session=credential_id), call())
        assert (second.ended_sessions, second.ended_credentials) == (0, 1)
        third = await gateway.revoke_tokens(RevokeTokens(session="unknown-1"), call())
        assert (third.ended_sessions, third.ended_credentials) == (0, 0)
        assert {each.value for each in await revocations(gateway)} == {
            tokens.session,
            credential_id,
            "unknown-1",
        }


async def test_a_service_whose_session_is_revoked_gets_new_tokens_that_count() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        old = await gateway.issue_token(bench.service_token(), call())
        await gateway.revoke_tokens(RevokeTokens(session=old.session), call())
        (revocation,) = await revocations(gateway)
        assert (revocation.kind, revocation.value) == ("session", old.session)
        new = await gateway.issue_token(bench.service_token(), call())
        assert new.session != old.session


async def test_what_is_revoked_twice_in_one_second_ends_what_was_issued_in_between() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        for request in (
            RevokeTokens(subject="service:core_orchestrator"),
            RevokeTokens(everything_before_s=1.0),
        ):
            await gateway.revoke_tokens(request, call())
        between = await gateway.issue_token(bench.service_token(), call())
        await gateway.revoke_tokens(RevokeTokens(subject="service:core_orchestrator"), call())
        reach_s = max(each.before_s for each in await revocations(gateway))
        assert between.issued_at_s <= reach_s
        after = await gateway.issue_token(bench.service_token(), call())
        assert after.issued_at_s > reach_s
        now_s = bench.clock.now_s()
        await gateway.revoke_tokens(RevokeTokens(everything_before_s=now_s), call())
        assert after.issued_at_s <= max(each.before_s for each in await revocations(gateway))


async def test_everything_before_a_moment_ends_logins_and_leaves_credentials() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await people(gateway, "ada")
        old = await log_in(gateway)
        made = await gateway.create_credential(CreateCredential(subject="agent:Scout"), call())
        bench.clock.advance(10)
        moment_s = bench.clock.now_s()
        bench.clock.advance(10)
        new = await log_in(gateway)
        revoked = await gateway.revoke_tokens(RevokeTokens(everything_before_s=moment_s), call())
        assert (revoked.ended_sessions, revoked.ended_credentials) == (1, 0)
        with pytest.raises(LoginRefused):
            await refresh(gateway, old)
        await refresh(gateway, new)
        await gateway.issue_token(IssueToken(grant=CredentialGrant(credential=made.secret)), call())


async def test_a_later_revocation_never_shortens_an_earlier_one() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        now_s = bench.clock.now_s()
        await gateway.revoke_tokens(RevokeTokens(everything_before_s=now_s), call())
        await gateway.revoke_tokens(RevokeTokens(everything_before_s=now_s - 1000), call())
        (revocation,) = await revocations(gateway)
        assert revocation.before_s == now_s


async def test_the_number_of_revocations_is_bounded() -> None:
    bench = Bench(config=SecurityConfig(max_revocations=2))
    async with bench.gateway() as gateway:
        for number in range(2):
            await gateway.revoke_tokens(RevokeTokens(token_id=f"jti-{number}"), call())
        with pytest.raises(Overloaded, match="2 revocations"):
            await gateway.revoke_tokens(RevokeTokens(token_id="jti-3"), call())


async def test_a_new_password_ends_all_logins_but_the_one_that_set_it() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await people(gateway, "ada")
        own, other = await log_in(gateway), await log_in(gateway)
        request = SetPassword(
            user="ada",
            old_password=PASSWORD,
            new_password="quite another set of words",
        )
        user = await gateway.set_password(request, call(as_ada(own.session)))
        assert user.sessions == 1
        await refresh(gateway, own)
        with pytest.raises(LoginRefused):
            await refresh(gateway, other)
        with pytest.raises(LoginRefused):
            await log_in(gateway)
        assert await gateway.set_password(request, call(as_ada(own.session))) == user, "repeated"
        await log_in(gateway, password=request.new_password)


async def test_a_wrong_old_password_changes_nothing() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await people(gateway, "ada")
        request = SetPassword(
            user="ada",
            old_password="wrong words here",
            new_password="quite another set of words",
        )
        with pytest.raises(LoginRefused):
            await gateway.set_password(request, call(as_ada()))
        assert gateway._observed[-1].kind == "login_failed"
        await log_in(gateway)


async def test_a_person_who_is_shut_out_or_removed_is_out() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await people(gateway, "ada", "bob")
        ada, bob = await log_in(gateway, "ada"), await log_in(gateway, "bob")
        closed = await gateway.update_user(
            UpdateUser(user="ada", is_active=False, is_unlocked=True), call(ADMIN)
        )
        assert closed.sessions == 0
        await gateway.delete_user(DeleteUser(user="bob"), call())
        assert (await gateway.delete_user(DeleteUser(user="bob"), call())).was_there is False
        for tokens in (ada, bob):
            with pytest.raises(LoginRefused):
                await refresh(gateway, tokens)
        for user in ("ada", "bob"):
            with pytest.raises(LoginRefused):
                await log_in(gateway, user)
