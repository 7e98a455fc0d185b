import asyncio

import pytest

from tests.unit.security.gateway_bench import MASTER_LINE, PASSWORD, Bench, call, log_in
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import CheckStatus, GetHealth
from zejzl_ray.contracts.people import CreateUser, GetUser
from zejzl_ray.contracts.secrets import GetSecret, RotateMasterKey, SetSecret
from zejzl_ray.contracts.security_feed import WatchFeed
from zejzl_ray.contracts.tokens import (
    CreateCredential,
    GetKeys,
    ListSessions,
    ListSigningKeys,
    RefreshTokens,
    RevokeTokens,
)
from zejzl_ray.errors import (
    Conflict,
    DeadlineExceeded,
    NotFound,
    ServiceUnavailable,
    StoreError,
    StoreUnavailable,
)
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.config import SecurityConfig
from zejzl_ray.security.repeat_answers import AnswerRecord

ADA = CreateUser(user="ada", password=PASSWORD, roles=("operator",))


async def test_revocations_sessions_and_keys_outlive_a_restart() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await gateway.create_user(ADA, call())
        tokens = await log_in(gateway)
        await gateway.revoke_tokens(RevokeTokens(token_id="jti-1"), call())
        keys = await gateway.get_keys(GetKeys(), call())
        before = await gateway.watch(WatchFeed())
    async with bench.gateway() as gateway:
        after = await gateway.watch(WatchFeed(epoch=before.epoch, revision=before.revision))
        assert after.is_whole
        assert after.epoch > before.epoch
        assert [each.value for each in after.revocations] == ["jti-1"]
        assert await gateway.get_keys(GetKeys(), call()) == keys
        assert tokens.refresh_token is not None
        again = await gateway.refresh_tokens(
            RefreshTokens(refresh_token=tokens.refresh_token, request_id="r-1"), call()
        )
        assert again.session == tokens.session
        listed = await gateway.list_sessions(ListSessions(), call())
        assert [each.session for each in listed.sessions] == [tokens.session]


async def test_a_command_in_doubt_gets_its_answer_when_it_is_repeated() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        bench.store.lose = "after"
        with pytest.raises(StoreUnavailable):
            await gateway.create_user(ADA, call())
        with pytest.raises(NotFound):
            await gateway.get_user(GetUser(user="ada"), call())
        bench.store.lose = ""
        assert (await gateway.create_user(ADA, call())).user == "ada"
        with pytest.raises(Conflict):
            await gateway.create_user(ADA.model_copy(update={"request_id": "other"}), call())


async def test_followers_hear_of_a_revocation_in_doubt_with_the_next_tick() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        before = await gateway.watch(WatchFeed())
        bench.store.lose = "after"
        with pytest.raises(StoreUnavailable):
            await gateway.revoke_tokens(RevokeTokens(token_id="jti-1"), call())
        bench.store.lose = ""
        known = WatchFeed(epoch=before.epoch, revision=before.revision, timeout_s=0)
        assert (await gateway.watch(known)).revocations == ()
        await gateway.tick()
        news = await gateway.watch(known)
        assert news.is_whole
        assert [each.value for each in news.revocations] == ["jti-1"]


async def test_credentials_are_exchanged_while_the_store_is_away() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        bench.state.is_reachable = False
        await gateway.issue_token(bench.service_token(), call())
        with pytest.raises(StoreUnavailable):
            await gateway.create_user(ADA, call())
        health = await gateway.health(GetHealth(), call())
        assert {check.name: check.status for check in health.checks}["store"] is CheckStatus.FAILED
        await gateway.tick()
        bench.state.is_reachable = True
        await gateway.create_user(ADA, call())
        assert (await gateway.health(GetHealth(), call())).is_ready


async def test_a_gateway_that_was_replaced_answers_nobody_any_more() -> None:
    bench = Bench()
    async with bench.gateway() as old, bench.gateway() as new:
        with pytest.raises(ServiceUnavailable, match="taken over"):
            await old.create_user(ADA, call())
        assert old.is_fenced
        with pytest.raises(ServiceUnavailable, match="taken over"):
            await old.issue_token(bench.service_token(), call())
        await old.tick()
        await asyncio.wait_for(old.run(asyncio.Event()), 5)
        assert not (await old.health(GetHealth(), call())).is_ready
        await new.issue_token(bench.service_token(), call())


async def test_a_gateway_that_was_replaced_notices_although_nobody_asks_it_for_anything() -> None:
    bench = Bench()
    async with bench.gateway() as old, bench.gateway():
        await old.watch(WatchFeed())
        bench.clock.advance(5)
        await old.tick()
        with pytest.raises(ServiceUnavailable, match="taken over"):
            await old.watch(WatchFeed())


async def test_a_wrong_key_file_is_found_at_the_start() -> None:
    bench = Bench()
    async with bench.gateway():
        pass
    bench.master = MasterKeys.parse("b2" * 32)
    with pytest.raises(StoreError, match="not in the key file"):
        async with bench.gateway():
            pass


async def test_everything_is_encrypted_anew_and_the_old_master_key_can_go() -> None:
    bench = Bench()
    reader = call(Principal(subject="agent:Scout", grants=("*:*:*",)))
    async with bench.gateway() as gateway:
        await gateway.create_user(ADA, call())
        tokens = await log_in(gateway)
        assert tokens.refresh_token is not None
        renewed = await gateway.refresh_tokens(
            RefreshTokens(refresh_token=tokens.refresh_token, request_id="r-1"), call()
        )
        request = CreateCredential(subject="program:ci", is_signing=True)
        made = await gateway.create_credential(request, call())
        secret = SetSecret(name="key", subjects=("agent:Scout",), value="hush")
        await gateway.set_secret(secret, call())
    bench.master = MasterKeys.parse("b2" * 32 + "\n" + MASTER_LINE)
    async with bench.gateway() as gateway:
        rotated = await gateway.rotate_master_key(RotateMasterKey(), call())
        # two signing keys, the key of tags, one session, one answer, one signing credential, one secret
        assert rotated.records == 7
        assert (await gateway.rotate_master_key(RotateMasterKey(), call())).records == 0
    bench.master = MasterKeys.parse("b2" * 32)
    async with bench.gateway() as gateway:
        assert await gateway.create_credential(request, call()) == made
        again = await gateway.refresh_tokens(
            RefreshTokens(refresh_token=tokens.refresh_token, request_id="r-1"), call()
        )
        assert again == renewed
        value = await gateway.get_secret(GetSecret(name="key"), reader)
        assert value.value.get_secret_value() == "hush"
        await gateway.issue_token(bench.service_token(), call())


async def test_nothing_secret_is_stored_in_clear() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await gateway.create_user(ADA, call())
        tokens = await log_in(gateway)
        signing = await gateway.create_credential(
            CreateCredential(subject="program:ci", is_signing=True), call()
        )
        await gateway.set_secret(
            SetSecret(name="key", subjects=("agent:Scout",), value="hush hush"),
            call(),
        )
    stored = b"\n".join(
        [value.value for value, _ in bench.state.values.values()]
        + [entry for log in bench.state.logs.values() for entry in log.entries]
    )
    assert tokens.refresh_token is not None
    for secret in (
        PASSWORD.get_secret_value(),
        tokens.refresh_token.get_secret_value(),
        tokens.access_token.get_secret_value(),
        signing.secret.get_secret_value(),
        "hush hush",
    ):
        assert secret.encode() not in stored
    assert b"user:ada" in stored


async def test_a_request_id_that_was_used_for_something_else_is_refused() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        await gateway.create_user(ADA, call())
        with pytest.raises(Conflict, match="another command"):
            await gateway.create_user(ADA.model_copy(update={"user": "bob"}), call())
        with pytest.raises(Conflict, match="create_user"):
            await gateway.revoke_tokens(RevokeTokens(token_id="a", request_id=ADA.request_id), call())


async def test_answers_are_forgotten_in_time_and_above_their_number() -> None:
    bench = Bench(config=SecurityConfig(max_answers=3))
    async with bench.gateway() as gateway:
        requests = [RevokeTokens(token_id=f"jti-{number}") for number in range(5)]
        for request in requests:
            await gateway.revoke_tokens(request, call())
        await gateway.tick()
        assert len(gateway._answers.surplus(gateway.records)) == 0
        keys = [key for key in bench.state.values if key.startswith(b"answer/")]
        assert len(keys) == 3
        bench.clock.advance(601)
        await gateway.tick()
        assert gateway.records.oldest(AnswerRecord, 9) == []


async def test_a_call_that_comes_too_late_is_not_begun() -> None:
    bench = Bench()
    async with bench.gateway() as gateway:
        late = CallContext(deadline_at_s=bench.clock.now_s() - 1)
        with pytest.raises(DeadlineExceeded, match="was over"):
            await gateway.revoke_tokens(RevokeTokens(token_id="a"), late)


async def test_a_store_that_is_too_slow_leaves_the_outcome_open() -> None:
    bench = Bench(config=SecurityConfig(command_timeout_s=0.01))
    async with bench.gateway() as gateway:

        async def hang(*_: object, **__: object) -> None:
            await asyncio.sleep(0.05)

        bench.store.commit = hang  # type: ignore[method-assign]
        with pytest.raises(DeadlineExceeded, match="may still take effect"):
            await gateway.revoke_tokens(RevokeTokens(token_id="a"), call())


async def test_the_loop_runs_until_it_is_stopped() -> None:
    bench = Bench(config=SecurityConfig(tick_s=0.001))
    async with bench.gateway() as gateway:
        stop_event = asyncio.Event()
        running = asyncio.create_task(gateway.run(stop_event))
        await asyncio.sleep(0.02)
        assert gateway._ticked_at_s is not None
        stop_event.set()
        await asyncio.wait_for(running, 5)
        await gateway.stop()


async def test_keys_that_a_restart_missed_are_turned_at_the_start() -> None:
    bench = Bench(config=SecurityConfig(key_life_s=1000))
    async with bench.gateway() as gateway:
        before = await gateway.list_signing_keys(ListSigningKeys(), call())
    bench.clock.advance(1001)
    async with bench.gateway() as gateway:
        after = await gateway.list_signing_keys(ListSigningKeys(), call())
        assert [key.kid for key in before.keys if key.state == "next"] == [
            key.kid for key in after.keys if key.state == "signing"
        ]
