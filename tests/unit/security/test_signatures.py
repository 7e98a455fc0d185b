"""A signed request counts once; the same one again is a repetition, another one with its nonce a replay."""

import pickle

import pytest
from pydantic import SecretStr

from tests.unit.security.gateway_state import ADMIN, GatewayState
from zejzl_ray.auth.credential_text import login_refused, new_credential_id, new_secret_hex
from zejzl_ray.auth.signed_requests import SKEW_S, request_id_of, sign_request
from zejzl_ray.contracts.tokens import CreateCredential, RevokeCredential, SignatureGrant
from zejzl_ray.errors import LoginRefused, Overloaded, StoreError
from zejzl_ray.security import signatures
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.credentials import CredentialRecord, decide_create, decide_revoke
from zejzl_ray.security.policy_file import default_policy
from zejzl_ray.security.signatures import NonceRecord, RequestReplayed, check


class Signer(GatewayState):
    """The gateway, and a program that signs."""

    def __init__(self) -> None:
        super().__init__()
        self.credential_id, self.secret = self.program("program:x", is_signing=True)

    def program(self, subject: str, *, is_signing: bool) -> tuple[str, SecretStr]:
        request = CreateCredential(subject=subject, is_signing=is_signing)
        made = self.run(
            decide_create,
            request,
            ADMIN,
            default_policy(),
            self.master,
            new_secret_hex(),
            new_credential_id(),
        )
        return made.credential.credential_id, made.secret

    def grant(self, body: bytes = b"{}", nonce: str | None = None, off_s: int = 0) -> SignatureGrant:
        return sign_request(
            self.credential_id, self.secret, "POST", "/v1/agents?x=1", body,
            at_s=int(self.now_s) + off_s, nonce=nonce,
        )  # fmt: skip

    def check(self, grant: SignatureGrant) -> CredentialRecord:
        return self.run(check, grant, self.master, "req-1", "192.0.2.7")


@pytest.fixture
def state() -> Signer:
    return Signer()


def refused(state: Signer, grant: SignatureGrant) -> LoginRefused:
    with pytest.raises(LoginRefused) as caught:
        state.check(grant)
    assert str(caught.value) == str(login_refused())
    assert state.secret.get_secret_value() not in repr(caught.value)
    return caught.value


def test_a_right_signature_gives_the_credential(state: Signer) -> None:
    record = state.check(state.grant())
    assert (record.subject, record.credential_id) == ("program:x", state.credential_id)
    assert state.secret.get_secret_value() not in state.texts()


def test_the_same_request_again_is_a_repetition_with_the_same_request_id(state: Signer) -> None:
    grant = state.grant()
    first = state.check(grant)
    state.restart(CredentialRecord, NonceRecord)
    state.now_s += 10
    assert state.check(grant) == first
    assert state.last.ops == []
    assert request_id_of(grant) == f"sig-{state.credential_id}-{grant.nonce}"


def test_another_request_with_the_nonce_is_a_replay_and_the_audit_trail_hears_of_it(state: Signer) -> None:
    nonce = "n" * 16
    state.check(state.grant(b"{}", nonce))
    error = refused(state, state.grant(b'{"other": 1}', nonce))
    assert isinstance(error, RequestReplayed)
    assert error.fact is not None
    assert (error.fact.kind, error.fact.reason, error.fact.subject, error.fact.address, error.fact.request_id) == (
        "security_event", "token_replay", "program:x", "192.0.2.7", "req-1",
    )  # fmt: skip
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), back.fact, str(back)) == (RequestReplayed, error.fact, str(error))


def test_a_nonce_belongs_to_one_credential(state: Signer) -> None:
    nonce = "n" * 16
    state.check(state.grant(nonce=nonce))
    state.credential_id, state.secret = state.program("program:y", is_signing=True)
    assert state.check(state.grant(nonce=nonce)).subject == "program:y"


@pytest.mark.parametrize("off_s", [-SKEW_S, SKEW_S])
def test_a_clock_may_be_off_by_the_skew_and_no_more(state: Signer, off_s: int) -> None:
    state.check(state.grant(off_s=off_s))
    refused(state, state.grant(off_s=off_s + (1 if off_s > 0 else -1)))


def test_a_nonce_is_kept_as_long_as_its_signature_would_be_taken(state: Signer) -> None:
    nonce = "n" * 16
    grant = state.grant(nonce=nonce, off_s=SKEW_S)
    state.check(grant)
    state.now_s = grant.at_s + float(SKEW_S)
    assert isinstance(refused(state, state.grant(b"other", nonce)), RequestReplayed)
    state.check(grant)
    assert state.last.ops == []
    state.now_s += 1
    assert not isinstance(refused(state, grant), RequestReplayed)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"target": "/v1/agents?x=2"},
        {"body_digest": "0" * 64},
        {"at_s": 1_700_000_001},
        {"nonce": "m" * 16},
        {"signature": "0" * 64},
        {"credential_id": "0" * 16},
        {"target": "/v1/agents?x=1\nPOST"},
    ],
)
def test_any_change_breaks_the_signature(state: Signer, change: dict[str, object]) -> None:
    grant = state.grant(nonce="n" * 16)
    refused(state, grant.model_copy(update=change))
    assert state.check(grant).subject == "program:x"


def test_a_credential_that_does_not_sign_or_has_ended_is_refused(state: Signer) -> None:
    grant = state.grant()
    state.run(decide_revoke, RevokeCredential(credential_id=state.credential_id), ADMIN)
    refused(state, grant)
    state.credential_id, text = state.program("program:y", is_signing=False)
    state.secret = SecretStr(text.get_secret_value()[-64:])
    refused(state, state.grant())
    state.secret = SecretStr("0" * 64)  # what is computed with where there is no secret
    refused(state, state.grant())


def test_too_many_nonces_are_refused_and_old_ones_still_known(
    state: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signatures, "MAX_NONCES", 2)
    grants = [state.grant() for _ in range(3)]
    for grant in grants[:2]:
        state.check(grant)
    with pytest.raises(Overloaded, match="2 signed requests"):
        state.check(grants[2])
    assert state.check(grants[0]).subject == "program:x"
    state.now_s += SKEW_S + 2
    state.records.forget_expired(state.now_s)
    assert state.check(state.grant()).subject == "program:x"


def test_nonces_of_one_commit_are_counted_too(state: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "MAX_NONCES", 2)
    draft = state.draft()
    for _ in range(2):
        check(draft, state.grant(), state.master, "r")
    with pytest.raises(Overloaded):
        check(draft, state.grant(), state.master, "r")


def test_without_the_master_key_the_store_is_named_and_not_the_secret(state: Signer) -> None:
    state.master = MasterKeys([b"\x02" * 32])
    with pytest.raises(StoreError, match="master key"):
        state.check(state.grant())
