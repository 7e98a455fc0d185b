"""Chains: whatever is done to one is found, and the first broken place is named."""

import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.auth.audit_anchors import Anchor, KeptHashes, anchor_details, anchors_of, verify_anchors
from zejzl_ray.auth.audit_chain import (
    Fault,
    decode_entry,
    digest_of,
    encode_entry,
    head_after,
    seal,
    seal_all,
    verify_chain,
)
from zejzl_ray.auth.audit_fact import make_fact
from zejzl_ray.contracts.audit import GENESIS, AuditEntry, ChainHead

CHAIN = "core_orchestrator"


def make_chain(length: int = 8, chain: str = CHAIN, text: str = "Agent") -> list[AuditEntry]:
    facts = [
        make_fact(1000.0 + n, "denied", "user:ada", target=f"{text}{n}\x1bä", details={"z": "1", "a": "2"})
        for n in range(length)
    ]
    return list(seal_all(None, chain, facts))


def resealed(entry: AuditEntry, **changes: Any) -> AuditEntry:
    changed = entry.model_copy(update=changes)
    return changed.model_copy(update={"hash": digest_of(changed)})


def test_a_hash_is_sha256_over_the_canonical_json_of_the_other_members() -> None:
    first, second = make_chain(2)
    members = first.model_dump()
    stated = members.pop("hash")
    canonical = orjson.dumps(members, option=orjson.OPT_SORT_KEYS)
    assert stated == hashlib.sha256(canonical).hexdigest()
    assert canonical.startswith(b'{"address":"","at_s":1000.0,"chain":"core_orchestrator","count":1,')
    assert (first.index, first.previous, second.index, second.previous) == (1, GENESIS, 2, stated)
    assert encode_entry(first) == canonical[:-1] + b',"hash":"' + stated.encode() + b'"}'


def test_an_entry_follows_the_head_that_is_given() -> None:
    head = ChainHead(chain=CHAIN, index=41, hash="ab" * 32)
    entry = seal(head, CHAIN, 5, "issued", subject="user:ada", details={"scope": "a:b:read"})
    assert (entry.index, entry.previous, entry.at_s) == (42, "ab" * 32, 5.0)
    assert verify_chain([entry], head.hash, 42) is None
    assert head_after([entry]) == ChainHead(chain=CHAIN, index=42, hash=entry.hash)


@pytest.mark.parametrize("length", [0, 1, 8])
def test_a_chain_as_it_was_written_is_whole(length: int) -> None:
    chain = make_chain(length)
    head = head_after(chain) if chain else ChainHead(chain=CHAIN, index=0, hash=GENESIS)
    assert verify_chain(chain) is None
    assert verify_chain(iter(chain), chain=CHAIN, head=head) is None


@given(place=st.integers(0, 7), data=st.data())
def test_any_single_byte_that_changes_in_the_store_is_found(place: int, data: st.DataObject) -> None:
    stored = [encode_entry(entry) for entry in make_chain()]
    position = data.draw(st.integers(0, len(stored[place]) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != stored[place][position]))
    changed = bytearray(stored[place])
    changed[position] = value
    stored[place] = bytes(changed)
    entries = [decode_entry(each, CHAIN, n) for n, each in enumerate(stored, start=1)]
    broken = verify_chain(entries, chain=CHAIN)
    assert broken is not None
    assert (broken.index, broken.fault, broken.chain) == (place + 1, Fault.CHANGED, CHAIN)


@given(place=st.integers(0, 7), field=st.sampled_from(sorted(AuditEntry.model_fields)))
def test_any_member_that_changes_is_found(place: int, field: str) -> None:
    chain = make_chain()
    other: dict[str, Any] = {
        "index": 77, "at_s": 0.5, "kind": "granted", "count": 2, "details": {}, "previous": "0f" * 32,
        "hash": "0f" * 32,
    }  # fmt: skip
    chain[place] = chain[place].model_copy(update={field: other.get(field, "x")})
    broken = verify_chain(chain, chain=CHAIN)
    assert broken is not None
    assert (broken.index, broken.fault) == (place + 1, Fault.CHANGED)


@given(start=st.integers(1, 6), length=st.integers(1, 6))
def test_entries_that_were_removed_are_found(start: int, length: int) -> None:
    chain = make_chain()
    end = min(start + length, 7)
    broken = verify_chain(chain[:start] + chain[end:])
    assert broken is not None
    assert (broken.index, broken.fault) == (start + 1, Fault.REMOVED)


@given(first=st.integers(0, 7), second=st.integers(0, 7))
def test_entries_that_were_swapped_are_found(first: int, second: int) -> None:
    chain = make_chain()
    chain[first], chain[second] = chain[second], chain[first]
    broken = verify_chain(chain)
    if first == second:
        assert broken is None
    else:
        assert broken is not None
        assert (broken.index, broken.fault) == (min(first, second) + 1, Fault.REORDERED)


@given(cut=st.integers(1, 8))
def test_a_chain_cut_off_at_the_front_is_found(cut: int) -> None:
    chain = make_chain()
    broken = verify_chain(chain[cut:], head=head_after(chain))
    assert broken is not None
    expected = Fault.CUT_AT_FRONT if cut < 8 else Fault.CUT_AT_END
    assert (broken.index, broken.fault) == (1, expected)


@given(left=st.integers(0, 7))
def test_a_chain_cut_off_at_the_end_is_found_by_its_head(left: int) -> None:
    chain = make_chain()
    broken = verify_chain(chain[:left], chain=CHAIN, head=head_after(chain))
    assert broken is not None
    assert (broken.index, broken.fault) == (left + 1, Fault.CUT_AT_END)
    assert "entry 8" in broken.explanation


@given(place=st.integers(1, 7))
def test_an_entry_that_was_inserted_is_found(place: int) -> None:
    chain = make_chain()
    broken = verify_chain([*chain[:place], chain[place - 1], *chain[place:]])
    assert broken is not None
    assert (broken.index, broken.fault) == (place + 1, Fault.INSERTED)


def test_an_entry_of_another_chain_is_found() -> None:
    chain = make_chain()
    chain[3] = make_chain(chain="other")[3]
    broken = verify_chain(chain)
    assert broken is not None
    assert (broken.index, broken.fault) == (4, Fault.OTHER_CHAIN)


@given(place=st.integers(0, 7))
def test_an_entry_made_anew_with_its_hash_is_named_because_the_later_ones_do_not_know_it(place: int) -> None:
    chain = make_chain()
    head = head_after(chain)
    chain[place] = resealed(chain[place], subject="user:eve")
    broken = verify_chain(chain, head=head)
    assert broken is not None
    assert (broken.index, broken.fault) == (place + 1, Fault.CHANGED)


@given(place=st.integers(1, 7))
def test_an_entry_that_links_to_something_else_is_named(place: int) -> None:
    chain = make_chain()
    chain[place] = resealed(chain[place], previous="0f" * 32)
    broken = verify_chain(chain)
    assert broken is not None
    assert (broken.index, broken.fault) == (place + 1, Fault.CHANGED)


def test_a_chain_that_begins_with_a_link_into_nowhere_is_cut_off_at_the_front() -> None:
    chain = make_chain()
    chain[0] = resealed(chain[0], previous="0f" * 32)
    broken = verify_chain(chain[:1])
    assert broken is not None
    assert (broken.index, broken.fault) == (1, Fault.CUT_AT_FRONT)


def test_a_chain_of_which_old_entries_were_given_up_is_checked_from_the_oldest() -> None:
    chain = make_chain()
    assert verify_chain(chain[3:], chain[3].previous, 4) is None
    broken = verify_chain(chain[5:], chain[5].previous, 4)
    assert broken is not None
    assert (broken.index, broken.fault) == (4, Fault.CUT_AT_FRONT)


def test_members_that_cannot_be_written_have_no_hash() -> None:
    entry = make_chain(1)[0].model_copy(update={"count": 2**70})
    assert digest_of(entry) == ""
    assert verify_chain([entry]) is not None


def test_bytes_that_mean_the_same_but_were_not_written_so_are_damaged() -> None:
    entry = make_chain(1)[0]
    stored = encode_entry(entry)
    assert decode_entry(stored, CHAIN, 1) == entry
    for other in (stored.replace(b"\\u001b", b"\\u001B"), stored.replace(b"1000.0", b"1000.00"), b"[]", b""):
        damaged = decode_entry(other, CHAIN, 1)
        assert "damaged" in damaged.reason
        assert (damaged.index, damaged.hash == digest_of(damaged)) == (1, False)


# --- anchors ---------------------------------------------------------------------------------------------------


def kept(entries: list[AuditEntry], oldest: int = 1) -> KeptHashes:
    last = entries[-1].index if entries else 0
    return KeptHashes(last, oldest, {entry.index: entry.hash for entry in entries})


def anchor(entry: AuditEntry, at: int) -> Anchor:
    return Anchor(entry.chain, entry.index, entry.hash, at)


def test_anchors_are_read_from_the_entries_that_say_them() -> None:
    head = head_after(make_chain())
    entries = [
        seal(None, "security_gateway", 1.0, "anchor", target=CHAIN, details=anchor_details(head)),
        seal(None, "security_gateway", 1.0, "denied", target=CHAIN, details=anchor_details(head)),
        seal(None, "security_gateway", 1.0, "anchor", target=CHAIN, details={"index": "many"}),
    ]
    assert anchors_of(entries) == [Anchor(CHAIN, 8, head.hash, 1)]


def test_a_chain_that_agrees_with_its_anchors_is_whole() -> None:
    chain = make_chain()
    anchors = [anchor(chain[2], 10), anchor(chain[7], 11), Anchor("unknown", 3, GENESIS, 12)]
    assert verify_anchors({CHAIN: kept(chain)}, anchors) == []
    # an anchor of an entry that was given up says nothing
    assert verify_anchors({CHAIN: kept(chain[4:], oldest=5)}, anchors) == []


@given(left=st.integers(0, 7))
def test_a_chain_shorter_than_its_anchor_was_cut_off_at_the_end(left: int) -> None:
    chain = make_chain()
    broken = verify_anchors({CHAIN: kept(chain[:left])}, [anchor(chain[7], 10), anchor(chain[7], 11)])
    assert [(each.chain, each.index, each.fault) for each in broken] == [(CHAIN, left + 1, Fault.CUT_AT_END)]
    assert "entry 10 of the gateway's chain" in broken[0].explanation


def test_a_chain_written_anew_disagrees_with_the_first_anchor_behind_the_change() -> None:
    chain, anew = make_chain(), make_chain(text="Other")
    anchors = [anchor(chain[5], 12), anchor(chain[2], 10)]
    broken = verify_anchors({CHAIN: kept(anew)}, anchors)
    assert [(each.index, each.fault) for each in broken] == [(3, Fault.WRITTEN_ANEW)]
