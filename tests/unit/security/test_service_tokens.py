import pytest
from pydantic import SecretStr, ValidationError

from tests.unit.security.gateway_bench import ADMIN, NOBODY_KNOWN, PASSWORD, Bench, call, log_in
from zejzl_ray.auth.claims import Claims
from zejzl_ray.auth.key_set import KeySet
from zejzl_ray.auth.token_verifier import TokenVerifier
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.people import CreateUser, UpdateUser
from zejzl_ray.contracts.security_feed import WatchFeed
from zejzl_ray.contracts.tokens import (
    CreateCredential,
    CredentialGrant,
    GetKeys,
    IssueToken,
    ListCredentials,
    ListSigningKeys,
    RefreshTokens,
    RotateKeys,
    WhoAmI,
)
from zejzl_ray.errors import Forbidden, LoginRefused, RateLimited, ServiceUnavailable, ZejzlError
from zejzl_ray.security.service import SecurityGateway


async def claims_of(bench: Bench, gateway: SecurityGateway, token: SecretStr) -> Claims:
    keys = KeySet(bench.clock)
    keys.replace((await gateway.get_keys(GetKeys(), call())).keys)
    return TokenVerifier(keys, bench.clock).verify(token.get_secret_value())


async def make_ada(gateway: SecurityGateway, *roles: str) -> None:
    await gateway.create_user(CreateUser(user="ada", password=PASSWORD, roles=roles or ("operator",)), call())


async def test_a_service_gets_a_token_for_its_derived_credential() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        tokens = await gateway.issue_token(bench.service_token(), call(NOBODY_KNOWN))
        claims = await claims_of(bench, gateway, tokens.access_token)
        assert claims.subject == tokens.subject == "service:core_orchestrator"
        assert claims.grants == tokens.scopes
        assert "security_gateway:feed:read" in claims.grants
        assert claims.session == tokens.session
        assert claims.audience == "zejzl"
        assert claims.expires_at_s - claims.issued_at_s == 900
        assert tokens.refresh_token is None
        assert bench.audit.told[-1]["kind"] == "issued"


async def test_a_token_is_narrowed_to_what_was_asked_for_and_no_further_than_the_limits() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        request = bench.service_token(
            scopes=("security_gateway:feed:read",), audience="security_gateway", lifetime_s=60
        )
        tokens = await gateway.issue_token(request, call())
        claims = await claims_of(bench, gateway, tokens.access_token)
        assert claims.grants == ("security_gateway:feed:read",)
        assert claims.audience == "security_gateway"
        assert claims.expires_at_s - claims.issued_at_s == 60
        longest = await gateway.issue_token(bench.service_token(lifetime_s=3600), call())
        assert longest.expires_at_s - longest.issued_at_s == 3600


@pytest.mark.parametrize(
    ("scopes", "granted"), [((), ("mail:*:write",)), (("mail:vault:write",), ("mail:vault:write",))]
)
async def test_a_token_for_a_host_of_agents_is_good_for_mail_and_nothing_else(
    scopes: tuple[str, ...], granted: tuple[str, ...]
) -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        request = bench.service_token("root", audience="agent_host.perception-1", scopes=scopes)
        tokens = await gateway.issue_token(request, call())
        claims = await claims_of(bench, gateway, tokens.access_token)
        assert (claims.audience, claims.grants) == ("agent_host.perception-1", granted)
        wider = bench.service_token("root", audience="agent_host.a", scopes=("security_gateway:secrets:own",))
        with pytest.raises(Forbidden):
            await gateway.issue_token(wider, call())
        without = await gateway.issue_token(bench.service_token(audience="agent_host.a"), call())
        assert without.scopes == ()


@pytest.mark.parametrize(
    "audience", ["agent_host.", "agent_host.a b", "agent_host.1", "Agent.a", "a." + "x" * 129]
)
def test_an_audience_is_a_service_or_a_host_and_no_other_text(audience: str) -> None:
    with pytest.raises(ValidationError):
        Bench().service_token(audience=audience)


async def test_a_scope_that_is_not_held_is_refused_and_noted() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        with pytest.raises(Forbidden, match=r"does not hold \*:\*:\*"):
            await gateway.issue_token(bench.service_token(scopes=("*:*:*",)), call())
        assert [each.kind for each in gateway._observed] == ["denied"]


@pytest.mark.parametrize(
    "text",
    ["zs_core_orchestrator_" + "0" * 64, "zk_" + "0" * 16 + "_" + "0" * 64, "zs_x", "", "zr_x", "ü" * 40],
)
async def test_a_wrong_credential_gets_the_one_answer(text: str) -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        with pytest.raises(LoginRefused) as caught:
            await gateway.issue_token(IssueToken(grant=CredentialGrant(credential=SecretStr(text))), call())
        assert str(caught.value) == ("The name, password or credential is not right. Check it and try again.")
        assert [each.kind for each in gateway._observed] == ["login_failed"]


async def test_an_api_key_is_exchanged_until_it_expires_and_its_use_is_noted_to_the_minute() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        made = await gateway.create_credential(
            CreateCredential(subject="program:ci", scopes=("core_orchestrator:agents:read",), lifetime_s=400),
            call(),
        )
        request = IssueToken(grant=CredentialGrant(credential=made.secret))
        tokens = await gateway.issue_token(request, call())
        assert tokens.subject == "program:ci"
        assert tokens.session == made.credential.credential_id
        assert "core_orchestrator:agents:read" in tokens.scopes
        assert tokens.expires_at_s - tokens.issued_at_s == 400, "not longer than the credential"
        await gateway.tick()
        listed = await gateway.list_credentials(ListCredentials(), call())
        assert listed.credentials[0].last_used_at_s == bench.clock.now_s() // 60 * 60
        bench.clock.advance(401)
        with pytest.raises(LoginRefused):
            await gateway.issue_token(request, call())


async def test_a_repeated_creation_gets_the_same_secret_and_nobody_else_does() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        request = CreateCredential(subject="program:ci")
        first = await gateway.create_credential(request, call())
        again = await gateway.create_credential(request, call())
        assert again == first
        assert again.secret.get_secret_value() == first.secret.get_secret_value()
        other = await gateway.create_credential(
            request, call(Principal(subject="user:eve", grants=("*:*:*",)))
        )
        assert other.credential.credential_id != first.credential.credential_id
    stored = b"".join(value.value for value, _ in bench.state.values.values())
    assert first.secret.get_secret_value().encode() not in stored
    assert first.secret.get_secret_value()[-64:].encode() not in stored
    async with bench.gateway() as gateway:
        assert await gateway.create_credential(request, call()) == first


async def test_a_person_logs_in_and_refreshes() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await make_ada(gateway)
        first = await log_in(gateway)
        assert first.subject == "user:ada"
        assert first.refresh_token is not None
        bench.clock.advance(600)
        second = await gateway.refresh_tokens(
            RefreshTokens(refresh_token=first.refresh_token, request_id="r-1"), call(NOBODY_KNOWN)
        )
        assert second.session == first.session
        assert second.refresh_token is not None
        assert second.refresh_token != first.refresh_token
        claims = await claims_of(bench, gateway, second.access_token)
        assert claims.subject == "user:ada"
        assert claims.issued_at_s == int(bench.clock.now_s())


async def test_a_wrong_password_is_refused_counted_and_in_the_trail() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await make_ada(gateway)
        with pytest.raises(LoginRefused):
            await log_in(gateway, password=SecretStr("not the right one"))
        assert gateway._observed[-1].subject == "user:ada"
        with pytest.raises(Forbidden):
            await log_in(gateway, scopes=("*:*:*",))


async def test_a_login_that_is_locked_out_is_in_the_trail_and_seen_by_the_detectors() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await make_ada(gateway)
        refused: list[type[ZejzlError]] = []
        while RateLimited not in refused and len(refused) < 12:
            try:
                await log_in(gateway, password=SecretStr("not the right one"))
            except ZejzlError as error:
                refused.append(type(error))
        assert refused[-1] is RateLimited
        assert (gateway._observed[-1].kind, gateway._observed[-1].address) == ("rate_limited", "192.0.2.7")
        assert ("denied", "password") in {(each["kind"], each.get("reason")) for each in bench.audit.told}


async def test_the_same_refresh_is_an_honest_retry_and_any_other_ends_the_session() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await make_ada(gateway)
        first = await log_in(gateway)
        assert first.refresh_token is not None
        refresh = RefreshTokens(refresh_token=first.refresh_token, request_id="r-1")
        second = await gateway.refresh_tokens(refresh, call())
        bench.clock.advance(29)
        again = await gateway.refresh_tokens(refresh, call())
        assert again.model_dump_json() == second.model_dump_json()
        feed = await gateway.watch(WatchFeed())
        with pytest.raises(LoginRefused):
            await gateway.refresh_tokens(refresh.model_copy(update={"request_id": "r-2"}), call())
        news = await gateway.watch(WatchFeed(epoch=feed.epoch, revision=feed.revision))
        assert [(each.kind, each.value) for each in news.revocations] == [("session", first.session)]
        assert second.refresh_token is not None
        with pytest.raises(LoginRefused):
            await gateway.refresh_tokens(
                RefreshTokens(refresh_token=second.refresh_token, request_id="r-3"), call()
            )
        await gateway.tick()
        assert b"token_replay" in b"".join(value.value for value, _ in bench.state.values.values())


async def test_a_refresh_after_the_retry_window_is_a_replay_also_with_the_same_id() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await make_ada(gateway)
        first = await log_in(gateway)
        assert first.refresh_token is not None
        refresh = RefreshTokens(refresh_token=first.refresh_token, request_id="r-1")
        await gateway.refresh_tokens(refresh, call())
        bench.clock.advance(31)
        for _ in range(2):
            with pytest.raises(LoginRefused):
                await gateway.refresh_tokens(refresh, call())


async def test_a_refresh_in_doubt_is_repeated_with_one_outcome() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await make_ada(gateway)
        first = await log_in(gateway)
        assert first.refresh_token is not None
        refresh = RefreshTokens(refresh_token=first.refresh_token, request_id="r-1")
        bench.store.lose = "after"
        with pytest.raises(Exception, match="lost"):
            await gateway.refresh_tokens(refresh, call())
        bench.store.lose = ""
        second = await gateway.refresh_tokens(refresh, call())
        assert second.refresh_token is not None
        third = await gateway.refresh_tokens(
            RefreshTokens(refresh_token=second.refresh_token, request_id="r-2"), call()
        )
        assert third.session == first.session


async def test_a_made_up_refresh_token_of_a_known_session_does_no_harm() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await make_ada(gateway)
        first = await log_in(gateway)
        assert first.refresh_token is not None
        made_up = SecretStr(f"zr_{first.session}_{'0' * 64}")
        with pytest.raises(LoginRefused):
            await gateway.refresh_tokens(RefreshTokens(refresh_token=made_up, request_id="r-1"), call())
        await gateway.refresh_tokens(
            RefreshTokens(refresh_token=first.refresh_token, request_id="r-2"), call()
        )


async def test_a_refresh_gives_the_rights_of_the_moment() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await make_ada(gateway, "viewer")
        first = await log_in(gateway)
        assert first.refresh_token is not None
        await gateway.update_user(UpdateUser(user="ada", roles=("viewer", "operator")), call())
        second = await gateway.refresh_tokens(
            RefreshTokens(refresh_token=first.refresh_token, request_id="r-1"), call()
        )
        assert set(first.scopes) != set(second.scopes)


async def test_keys_rotate_without_a_moment_in_which_a_token_fails() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        before = await gateway.list_signing_keys(ListSigningKeys(), call())
        assert sorted(key.state for key in before.keys) == ["next", "signing"]
        old = await gateway.issue_token(bench.service_token(), call())
        asked = await gateway.rotate_keys(RotateKeys(), call())
        assert {key.kid for key in asked.keys} == {key.kid for key in before.keys}, (
            "not published long enough"
        )
        bench.clock.advance(61)
        await gateway.tick()
        after = await gateway.list_signing_keys(ListSigningKeys(), call())
        assert sorted(key.state for key in after.keys) == ["next", "retired", "signing"]
        new = await gateway.issue_token(bench.service_token(), call())
        new_claims = await claims_of(bench, gateway, new.access_token)
        old_claims = await claims_of(bench, gateway, old.access_token)
        assert old_claims.key_id != new_claims.key_id
        assert new_claims.key_id in {key.kid for key in before.keys}
        bench.clock.advance(3607)
        await gateway.tick()
        assert old_claims.key_id not in {
            key.kid for key in (await gateway.list_signing_keys(ListSigningKeys(), call())).keys
        }


async def test_all_keys_are_replaced_at_once_when_they_were_stolen() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        bench.clock.advance(0.5)
        before = await gateway.list_signing_keys(ListSigningKeys(), call())
        feed = await gateway.watch(WatchFeed())
        after = await gateway.rotate_keys(RotateKeys(is_immediate=True, reason="stolen"), call())
        assert not {key.kid for key in before.keys} & {key.kid for key in after.keys}
        news = await gateway.watch(WatchFeed(epoch=feed.epoch, revision=feed.revision))
        assert news.keys is not None
        assert {key.kid for key in news.keys} == {key.kid for key in after.keys}
        assert [each.kind for each in news.revocations] == ["all"]
        tokens = await gateway.issue_token(bench.service_token(), call())
        claims = await claims_of(bench, gateway, tokens.access_token)
        assert claims.issued_at_s > news.revocations[0].before_s, "it counts in this very second"


async def test_who_am_i_says_what_the_guard_has_proved() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        caller = Principal(subject="user:ada", grants=("a:b:read",), session="s", expires_at_s=1.0)
        identity = await gateway.who_am_i(WhoAmI(), call(caller))
        assert (identity.subject, identity.grants, identity.session) == ("user:ada", ("a:b:read",), "s")
        assert identity.standing["can_write"] is True


async def test_nothing_is_issued_before_the_start_and_after_the_stop() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        pass
    for request in (bench.service_token(),):
        with pytest.raises(ServiceUnavailable, match="not serving"):
            await gateway.issue_token(request, call())
    with pytest.raises(ServiceUnavailable):
        await gateway.get_keys(GetKeys(), call(ADMIN))
