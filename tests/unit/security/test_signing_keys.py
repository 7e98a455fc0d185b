import base64

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from zejzl_ray.commands.records import Records
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.tokens import RotateKeys, SigningKeys
from zejzl_ray.errors import ServiceUnavailable, StoreError
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.config import SecurityConfig
from zejzl_ray.security.draft import SecurityDraft
from zejzl_ray.security.signing_keys import (
    KeyRing,
    SigningKeyRecord,
    listed,
    public_keys,
    signing_key,
    thumbprint,
)

ADMIN = Principal(subject="user:root")


class Ring:
    def __init__(self, **config: float) -> None:
        self.records = Records()
        self.now_s = 1_000_000.0
        self.ring = KeyRing(MasterKeys.parse("a1" * 32), SecurityConfig(**config))

    def tick(self, after_s: float = 0.0) -> SecurityDraft:
        self.now_s += after_s
        draft = SecurityDraft(self.records, self.now_s)
        self.ring.decide_tick(draft)
        draft.apply()
        return draft

    def rotate(self, **fields: bool) -> SecurityDraft:
        draft = SecurityDraft(self.records, self.now_s)
        self.ring.decide_rotate(draft, RotateKeys(**fields), ADMIN)
        draft.apply()
        return draft

    def states(self) -> dict[str, list[str]]:
        keys: SigningKeys = listed(SecurityDraft(self.records, self.now_s))
        return {
            state: [key.kid for key in keys.keys if key.state == state]
            for state in ("signing", "next", "retired")
        }


def test_the_first_start_makes_a_key_that_signs_and_the_next_one() -> None:
    ring = Ring()
    assert ring.ring.is_due(ring.records, ring.now_s)
    draft = ring.tick()
    assert draft.are_keys_changed
    assert len(draft.facts) == 2
    assert {state: len(keys) for state, keys in ring.states().items()} == {
        "signing": 1,
        "next": 1,
        "retired": 0,
    }
    assert not ring.ring.is_due(ring.records, ring.now_s)
    assert len(public_keys(ring.records, ring.now_s)) == 2


def test_the_private_half_belongs_to_the_public_one_and_is_bound_to_its_record() -> None:
    ring = Ring()
    ring.tick()
    record = signing_key(ring.records, ring.now_s)
    public = ring.ring.private_of(record).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert base64.urlsafe_b64encode(public).decode().rstrip("=") == record.public
    assert record.kid == thumbprint(record.public)
    other = next(each for _, each in ring.records.all(SigningKeyRecord, 0.0) if each.kid != record.kid)
    with pytest.raises(StoreError):
        ring.ring.private_of(record.model_copy(update={"private": other.private}))


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    assert (
        thumbprint("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
        == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    )


def test_a_key_signs_for_its_life_and_the_next_one_was_published_before() -> None:
    ring = Ring(key_life_s=1000, publish_ahead_s=60)
    ring.tick()
    before = ring.states()
    assert not ring.tick(999).ops
    draft = ring.tick(1)
    after = ring.states()
    assert after["signing"] == before["next"]
    assert after["retired"] == before["signing"]
    assert len(after["next"]) == 1
    assert draft.are_keys_changed
    assert {key.kid for key in public_keys(ring.records, ring.now_s)} == {
        *after["signing"], *after["next"], *after["retired"],
    }  # fmt: skip


def test_an_old_key_stays_until_its_last_token_has_expired() -> None:
    ring = Ring(key_life_s=100_000, max_token_life_s=3600, leeway_s=5)
    ring.tick()
    ring.tick(100_000)
    (retired,) = ring.states()["retired"]
    ring.tick(3605)
    assert ring.states()["retired"] == [retired]
    assert ring.tick(1.5).are_keys_changed
    assert ring.states()["retired"] == []


def test_a_rotation_that_is_asked_for_waits_until_the_next_key_was_published_long_enough() -> None:
    ring = Ring(publish_ahead_s=60)
    ring.tick()
    before = ring.states()
    draft = ring.rotate()
    assert ring.states() == before
    assert draft.facts[-1].subject == "user:root"
    ring.tick(59)
    assert ring.states() == before
    ring.tick(1)
    assert ring.states()["signing"] == before["next"]
    ring.tick(200)
    assert ring.states()["signing"] == before["next"], "asked for once, turned once"


def test_a_rotation_is_at_once_when_the_next_key_is_long_known() -> None:
    ring = Ring(publish_ahead_s=60)
    ring.tick()
    before = ring.states()
    ring.now_s += 61
    ring.rotate()
    assert ring.states()["signing"] == before["next"]


def test_stolen_keys_are_all_gone_at_once_and_what_they_signed_is_revoked() -> None:
    ring = Ring()
    ring.tick()
    before = {key.kid for key in public_keys(ring.records, ring.now_s)}
    draft = ring.rotate(is_immediate=True)
    after = {key.kid for key in public_keys(ring.records, ring.now_s)}
    assert not before & after
    assert len(after) == 2
    assert [each.kind for each in draft.revocations] == ["all"]


def test_without_a_key_nothing_is_signed() -> None:
    with pytest.raises(ServiceUnavailable, match="no signing key"):
        signing_key(Records(), 0.0)
