"""With a newer master key everything at rest is encrypted anew, all or nothing, and reads as before."""

from typing import ClassVar

import pytest
from pydantic import SecretStr

from tests.unit.security.gateway_state import ADMIN, GatewayState
from zejzl_ray.auth.credential_text import new_secret_hex
from zejzl_ray.commands.records import Record
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.secrets import GetSecret, RevokeSecret, RotateMasterKey, SetSecret
from zejzl_ray.contracts.tokens import CreateCredential
from zejzl_ray.errors import StoreError
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.credentials import CredentialRecord, decide_create
from zejzl_ray.security.master_rotation import SECRETS, SIGNING_SECRETS, AtRest, decide_rotate_master
from zejzl_ray.security.policy_file import default_policy
from zejzl_ray.security.secrets import SecretRecord, decide_get, decide_revoke, decide_set

OLD, NEW = b"\x01" * 32, b"\x02" * 32
OWNER = Principal(subject="agent:A")


class KeyRecord(Record):
    KIND: ClassVar[str] = "key"

    private: str


KEYS = AtRest(KeyRecord, "private", lambda record: "key/k1")


@pytest.fixture
def state() -> GatewayState:
    state = GatewayState()
    for name in ("one", "gone"):
        request = SetSecret(name=name, subjects=("agent:A",), value=SecretStr(f"value of {name}"))
        state.run(decide_set, request, ADMIN, state.master)
    state.run(decide_revoke, RevokeSecret(name="gone"), ADMIN)
    for number, is_signing in enumerate((True, False)):
        create = CreateCredential(subject="program:x", is_signing=is_signing, lifetime_s=60)
        state.run(
            decide_create, create, ADMIN, default_policy(), state.master, new_secret_hex(), f"{number:016x}"
        )
    state.put("k1", KeyRecord(private=state.master.encrypt("key/k1", b"private")))
    return state


def test_everything_reads_as_before_with_the_newest_key_alone(state: GatewayState) -> None:
    both = MasterKeys([NEW, OLD])
    reply = state.run(decide_rotate_master, RotateMasterKey(), ADMIN, both, (SECRETS, SIGNING_SECRETS, KEYS))
    assert reply.records == 3
    fact = state.facts[-1]
    assert (fact.kind, fact.count, fact.subject) == ("keys", 3, "user:admin")
    newest = MasterKeys([NEW])
    value = state.run(decide_get, GetSecret(name="one"), OWNER, newest)
    assert (value.value.get_secret_value(), value.version) == ("value of one", 1)
    signing, key = state.get(CredentialRecord, f"{0:016x}"), state.get(KeyRecord, "k1")
    assert signing is not None
    assert key is not None
    assert len(newest.decrypt(signing.place, signing.signing_secret)) == 32
    assert newest.decrypt("key/k1", key.private) == b"private"


def test_repeating_it_changes_nothing(state: GatewayState) -> None:
    both = MasterKeys([NEW, OLD])
    state.run(decide_rotate_master, RotateMasterKey(), ADMIN, both)
    assert state.run(decide_rotate_master, RotateMasterKey(), ADMIN, both).records == 0
    assert state.last.ops == []


def test_what_was_to_be_forgotten_still_is(state: GatewayState) -> None:
    state.run(decide_rotate_master, RotateMasterKey(), ADMIN, MasterKeys([NEW, OLD]))
    state.now_s += 31 * 86_400
    assert state.get(CredentialRecord, f"{0:016x}") is None
    assert state.get(SecretRecord, "gone") is None
    assert state.get(SecretRecord, "one") is not None


def test_without_the_old_key_nothing_is_changed(state: GatewayState) -> None:
    with pytest.raises(StoreError, match="master key"):
        state.run(decide_rotate_master, RotateMasterKey(), ADMIN, MasterKeys([NEW]))
