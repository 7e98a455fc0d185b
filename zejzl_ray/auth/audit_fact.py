"""One thing that an audit trail is told of, made fit to be kept: bounded, readable, without secrets.

Callers hand in texts, some of which came from an attacker. What leaves here fits the entry's model whatever came in,
and a text that looks like a credential, a token or a password in an address says ``[hidden]`` in its place.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, get_args

from annotated_types import MaxLen

from zejzl_ray.contracts.audit import AuditEntry
from zejzl_ray.log import redact

HIDDEN: Final = "[hidden]"
MAX_DETAIL_NAME: Final = 64
MAX_DETAIL: Final = 512
MAX_COUNT: Final = 2**53  # what every JSON reader counts exactly

_TEXTS: Final = ("subject", "operation", "target", "outcome", "reason", "address", "request_id")


def _bound(field: str) -> int:
    return next(
        each.max_length for each in AuditEntry.model_fields[field].metadata if isinstance(each, MaxLen)
    )


BOUNDS: Final[dict[str, int]] = {field: _bound(field) for field in _TEXTS}
MAX_DETAILS: Final = _bound("details")
KINDS: Final[frozenset[str]] = frozenset(get_args(AuditEntry.model_fields["kind"].annotation))
_SUBJECT, _OPERATION, _TARGET, _OUTCOME, _REASON, _ADDRESS, _REQUEST_ID = BOUNDS.values()

# Credentials of ours, and JSON Web Tokens, of which the first part alone is enough: a text may be cut anywhere.
_SECRET: Final = re.compile(r"z[ksr]_[A-Za-z0-9_-]*|eyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*")
# A password in an address of which the cut has taken the end; no port is as long.
_CUT_PASSWORD: Final = re.compile(r"(://[^/\s:@]{0,256}:)[^/\s@]{32,}")
_new_tuple: Final = tuple.__new__
_NO_DETAILS: Final[dict[str, str]] = {}
# How much of a text is looked at, as a multiple of what is kept of it: a secret that spans the cut is seen whole.
_LOOK: Final = 2


class Fact(NamedTuple):
    """What happened, fit to be kept; ``make_fact`` makes one."""

    at_s: float
    kind: str
    subject: str
    operation: str
    target: str
    outcome: str
    reason: str
    address: str
    request_id: str
    times: int
    details: dict[str, str]


def make_fact(
    at_s: float,
    kind: str,
    subject: str = "",
    operation: str = "",
    target: str = "",
    outcome: str = "ok",
    reason: str = "",
    address: str = "",
    request_id: str = "",
    count: int = 1,
    details: Mapping[str, str] | None = None,
) -> Fact:
    """Return the fact as it may be kept; never raises, whatever the texts are.

    Texts are cut at the bounds of the model, what looks like a secret is replaced, what is no text is hidden. A kind
    that does not exist becomes ``security_event``, which nobody overlooks.
    """
    try:
        told = "\n".join((subject, operation, target, outcome, reason, address, request_id))
        named = _NO_DETAILS
        if details:
            named = dict(details)
            told = "\n".join((told, *named, *named.values()))
        if (
            len(subject) <= _SUBJECT
            and len(operation) <= _OPERATION
            and len(target) <= _TARGET
            and len(outcome) <= _OUTCOME
            and len(reason) <= _REASON
            and len(address) <= _ADDRESS
            and len(request_id) <= _REQUEST_ID
            and kind in KINDS
            and type(count) is int
            and 0 <= count <= MAX_COUNT
            and (not named or _are_details_short(named))
            and not _may_hold_secret(told)
            and (told.isascii() or _is_writable(told))
        ):
            # What the constructor does, without checking the number of its arguments: a third of the time.
            return _new_tuple(
                Fact,
                (at_s, kind, subject, operation, target, outcome, reason, address, request_id, count, named),
            )
    except (TypeError, ValueError, AttributeError):
        named = details if isinstance(details, Mapping) else {"details": HIDDEN}  # type: ignore[assignment]
    return Fact(
        at_s,
        kind if isinstance(kind, str) and kind in KINDS else "security_event",
        cleaned_text(subject, _SUBJECT),
        cleaned_text(operation, _OPERATION),
        cleaned_text(target, _TARGET),
        cleaned_text(outcome, _OUTCOME),
        cleaned_text(reason, _REASON),
        cleaned_text(address, _ADDRESS),
        cleaned_text(request_id, _REQUEST_ID),
        min(max(int(count), 0), MAX_COUNT) if isinstance(count, int) else 1,
        _cleaned_details(named),
    )


def cleaned_text(value: Any, bound: int) -> str:
    """Return the text without secrets, at most ``bound`` characters long; ``[hidden]`` for what is no text."""
    if not isinstance(value, str):
        return HIDDEN
    text = value[: bound * _LOOK].encode("utf-8", "replace").decode()
    if _may_hold_secret(text):
        text = _CUT_PASSWORD.sub(rf"\1{HIDDEN}", redact(_SECRET.sub(HIDDEN, text)))
    return text[:bound]


def _cleaned_details(details: Mapping[Any, Any]) -> dict[str, str]:
    cleaned: dict[str, str] = {}
    for name, value in details.items():
        if len(cleaned) == MAX_DETAILS:
            break
        cleaned[cleaned_text(name, MAX_DETAIL_NAME)] = cleaned_text(value, MAX_DETAIL)
    return cleaned


def _are_details_short(details: dict[str, str]) -> bool:
    return len(details) <= MAX_DETAILS and all(
        type(name) is str and len(name) <= MAX_DETAIL_NAME and len(value) <= MAX_DETAIL
        for name, value in details.items()
    )


def _may_hold_secret(text: str) -> bool:
    """Look for fixed texts: that makes the usual case, nothing to hide, cheap."""
    return (
        "zk_" in text
        or "zs_" in text
        or "zr_" in text
        or "eyJ" in text
        or "://" in text
        or "earer " in text
        or "EARER " in text
    )


def _is_writable(text: str) -> bool:
    """Whether UTF-8 can hold the text; half a surrogate pair cannot be written."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
