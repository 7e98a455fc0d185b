"""Facts of the audit trail: bounded, readable, without secrets, whatever comes in."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from zejzl_ray.auth.audit_chain import digest_of, encode_entry, seal
from zejzl_ray.auth.audit_fact import BOUNDS, HIDDEN, KINDS, MAX_DETAIL, MAX_DETAILS, make_fact
from zejzl_ray.contracts.audit import AuditEntry

SECRET = "5f" * 32
CREDENTIAL = f"zk_0123456789abcdef_{SECRET}"
JWT = "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJ1c2VyOmFkYSJ9.c2lnbmF0dXJl"

ANYTHING = st.one_of(
    st.text(max_size=1200),
    st.none(),
    st.integers(),
    st.binary(max_size=8),
    st.lists(st.text(max_size=3), max_size=3),
    st.just("\ud800 half a pair"),
)


@pytest.mark.parametrize(
    "text",
    [
        CREDENTIAL,
        f"zs_core_orchestrator_{SECRET}",
        f"zr_{'0' * 32}_{SECRET}",
        JWT,
        f"x{CREDENTIAL}x",
        f"Bearer {SECRET}",
        f"bearer {JWT}",
        f"redis://ada:{SECRET}@pc2:6379",
    ],
)
@pytest.mark.parametrize("field", [*BOUNDS, "details"])
def test_what_looks_like_a_secret_is_hidden_in_every_text(field: str, text: str) -> None:
    given_texts: dict[str, Any] = {field: {text: text} if field == "details" else f"it said {text} twice"}
    entry = seal(None, "c", 1.0, "denied", **given_texts)
    stored = encode_entry(entry).decode()
    assert SECRET not in stored
    assert JWT.split(".")[2] not in stored
    assert HIDDEN in stored


def test_a_secret_that_spans_the_cut_is_hidden_too() -> None:
    fact = make_fact(1.0, "denied", reason="x" * 500 + CREDENTIAL)
    assert fact.reason == ("x" * 500 + HIDDEN)[:512]
    fact = make_fact(1.0, "denied", reason=f"redis://ada:{'p' * 600}@pc2")
    assert "pp" not in fact.reason


def test_ordinary_texts_stay_as_they_are() -> None:
    fact = make_fact(
        1.0, "denied", "user:ada", "core_orchestrator.get_agent", "Agent [1] ü", "forbidden", "No scope.",
        "fe80::1", "req-1", 3, {"scope": "a:b:read"},
    )  # fmt: skip
    assert fact == (
        1.0, "denied", "user:ada", "core_orchestrator.get_agent", "Agent [1] ü", "forbidden", "No scope.",
        "fe80::1", "req-1", 3, {"scope": "a:b:read"},
    )  # fmt: skip


def test_texts_are_cut_at_the_bounds_of_the_model() -> None:
    long: dict[str, Any] = dict.fromkeys(BOUNDS, "ü" * 5000)
    fact = make_fact(1.0, "denied", **long, details={f"n{n}" * 99: "v" * 5000 for n in range(50)})
    assert {field: len(getattr(fact, field)) for field in BOUNDS} == BOUNDS
    assert len(fact.details) == MAX_DETAILS
    assert all(len(name) <= 64 and len(value) == MAX_DETAIL for name, value in fact.details.items())


def test_a_kind_that_does_not_exist_is_seen_as_a_security_event() -> None:
    unknown: Any = ["no", SecretStr("x"), None, []]
    assert [make_fact(1.0, kind).kind for kind in unknown] == ["security_event"] * 4
    assert {make_fact(1.0, kind).kind for kind in KINDS} == KINDS


def test_what_is_no_text_is_hidden() -> None:
    other: Any = SecretStr("x")
    assert make_fact(1.0, "denied", subject=other).subject == HIDDEN
    assert make_fact(1.0, "denied", details=other).details == {"details": HIDDEN}
    assert make_fact(1.0, "denied", details={"a": other}).details == {"a": HIDDEN}


def test_what_utf8_cannot_hold_is_replaced() -> None:
    assert make_fact(1.0, "denied", reason="half \ud800 ü").reason == "half ? ü"


@pytest.mark.parametrize(("count", "kept"), [(0, 0), (7, 7), (-1, 0), (2**80, 2**53), (True, 1), ("9", 1)])
def test_counts_are_bounded(count: Any, kept: int) -> None:
    assert make_fact(1.0, "denied", count=count).times == kept


@given(
    kind=st.one_of(st.sampled_from(sorted(KINDS)), ANYTHING),
    texts=st.dictionaries(st.sampled_from(sorted(BOUNDS)), ANYTHING, max_size=7),
    count=st.one_of(st.integers(), st.text(max_size=2)),
    details=st.one_of(st.none(), ANYTHING, st.dictionaries(st.text(max_size=80), ANYTHING, max_size=20)),
)
def test_whatever_comes_in_an_entry_comes_out_that_survives_the_wire(
    kind: Any, texts: dict[str, Any], count: Any, details: Any
) -> None:
    entry = seal(None, "c", 1.5, kind, **texts, count=count, details=details)
    again = AuditEntry.model_validate_json(encode_entry(entry))
    assert again == entry
    assert AuditEntry.model_validate_json(entry.model_dump_json()) == entry
    assert digest_of(again) == entry.hash
