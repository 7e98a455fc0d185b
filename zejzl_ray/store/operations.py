"""Operations checked and folded before any implementation sees them.

The three stores apply a ``Prepared`` commit, so limits and the meaning of several operations on one key are
written once. Folding keeps the order of operations on a key: ``Put, Put`` adds two to its version, ``Delete,
Put`` starts at 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zejzl_ray.errors import InvalidInput, PayloadTooLarge, SettingsInvalid, VersionConflict
from zejzl_ray.ids import NAME_REGEX
from zejzl_ray.store.protocol import Append, Delete, Op, Put, Trim

MAX_KEY_BYTES = 1024
MAX_COMMIT_BYTES = 64 * 1024 * 1024
MAX_OPS = 100_000
MAX_PAGE = 100_000
MAX_EXPECT = 100_000
MAX_INDEX = 2**53  # a double, which is what Redis' Lua has, counts exactly up to here
COMMIT_WINDOW = 1024
# Expired keys removed with one commit: enough to keep up with a writer that sets an expiry on each key it
# writes.
CLEANUP_PER_COMMIT = 128


@dataclass(slots=True)
class KeyWrite:
    """The outcome of a commit's puts on one key.

    Attributes:
        puts: how many puts stand behind it; the version grows by as much.
        is_reset: a delete came before them, so the version starts from 0.
    """

    value: bytes
    expires_at_s: float | None
    puts: int
    is_reset: bool


@dataclass(slots=True)
class LogAppend:
    """Consecutive entries for one log."""

    log: bytes
    values: list[bytes]


@dataclass(slots=True)
class LogTrim:
    """Drop entries of one log up to and including ``through``."""

    log: bytes
    through: int


@dataclass(slots=True)
class Prepared:
    """One commit: checked, folded by key, keys as UTF-8."""

    epoch: int
    commit_id: str
    now_s: float
    expect: dict[bytes, int]
    # key -> value; one put without expiry, which is nearly all of a bulk write
    plain: dict[bytes, bytes] = field(default_factory=dict)
    # key -> what several puts, a delete before a put, or an expiry come to
    special: dict[bytes, KeyWrite] = field(default_factory=dict)
    # a dict for its order; the values mean nothing
    deletes: dict[bytes, None] = field(default_factory=dict)
    log_ops: list[LogAppend | LogTrim] = field(default_factory=list)
    size_bytes: int = 0


def check_namespace(namespace: str) -> str:
    """Return the namespace unchanged when it may name a file and a Redis key prefix.

    Raises:
        SettingsInvalid: it may not.
    """
    if not NAME_REGEX.match(namespace):
        raise SettingsInvalid(
            f"{namespace!r} cannot name a store.",
            "Use a letter, then letters, digits, '_', '.' or '-', 128 in all.",
        )
    return namespace


def encode_key(key: str, what: str = "key") -> bytes:
    """Return the UTF-8 bytes of a key or log name, 1 to 1,024 of them.

    Raises:
        InvalidInput: empty, too long, not text.
    """
    try:
        encoded = key.encode()
    except (AttributeError, UnicodeEncodeError):
        raise InvalidInput(f"the {what} {key!r} is not text that UTF-8 can hold.") from None
    if not 0 < len(encoded) <= MAX_KEY_BYTES:
        raise InvalidInput(
            f"a {what} of {len(encoded)} bytes; 1 to {MAX_KEY_BYTES} are allowed: {key[:64]!r}."
        )
    return encoded


def encode_prefix(prefix: str) -> bytes:
    """Return the UTF-8 bytes of a scan's prefix or starting point, which may be empty."""
    return encode_key(prefix, "prefix") if prefix else b""


def check_page(after: int, limit: int) -> None:
    """Refuse a page that no store could return.

    Raises:
        InvalidInput: ``limit`` outside 1 to 100,000 or ``after`` outside 0 to 2**53.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"limit is {limit}; 1 to {MAX_PAGE} are allowed.")
    if not 0 <= after <= MAX_INDEX:
        raise InvalidInput(f"after is {after}; 0 to {MAX_INDEX} are allowed.")


def version_conflict(namespace: str, key: bytes, found: int, expected: int) -> VersionConflict:
    """Return the error that names the key and both versions."""
    return VersionConflict(
        f"{namespace}: key {key.decode()!r} has version {found}, expected {expected}.",
        "Read it again, then repeat.",
    )


def prepare(
    ops: Sequence[Op], *, epoch: int, expect: Mapping[str, int] | None, commit_id: str, now_s: float
) -> Prepared:
    """Check a commit and fold it by key.

    A put whose expiry is not after ``now_s`` is the same as a delete.

    Raises:
        InvalidInput: a key, value, expiry or index that cannot be stored; nothing has happened.
        PayloadTooLarge: above 100,000 operations or 64 MiB.
    """
    if len(ops) > MAX_OPS or (expect is not None and len(expect) > MAX_EXPECT):
        raise PayloadTooLarge(f"a commit of {len(ops)} operations; {MAX_OPS} are allowed.", "Split it.")
    if commit_id:
        encode_key(commit_id, "commit_id")
    expected = {encode_key(key): version for key, version in expect.items()} if expect else {}
    prepared = Prepared(epoch=epoch, commit_id=commit_id, now_s=now_s, expect=expected)
    size_bytes = 0
    for op in ops:
        match op:
            case Put(key=key, value=value, expires_at_s=expires_at_s):
                encoded = encode_key(key)
                _check_value(value, key)
                size_bytes += len(encoded) + len(value)
                _fold_put(prepared, encoded, value, expires_at_s)
            case Append(log=log, value=value):
                _check_value(value, log)
                size_bytes += len(value)
                _fold_append(prepared, encode_key(log, "log"), value)
            case Delete(key=key):
                _fold_delete(prepared, encode_key(key))
            case Trim(log=log, through=through):
                if not 0 <= through <= MAX_INDEX:
                    raise InvalidInput(
                        f"trim of log {log!r} through {through}; 0 to {MAX_INDEX} are allowed."
                    )
                prepared.log_ops.append(LogTrim(encode_key(log, "log"), through))
            case _:
                raise InvalidInput(f"{type(op).__name__} is no store operation.")
    if size_bytes > MAX_COMMIT_BYTES:
        raise PayloadTooLarge(f"a commit of {size_bytes} bytes; {MAX_COMMIT_BYTES} are allowed.", "Split it.")
    prepared.size_bytes = size_bytes
    return prepared


def _check_value(value: bytes, where: str) -> None:
    # A store that turned str or int into bytes and back would lose their type.
    if type(value) is not bytes:
        raise InvalidInput(f"the value for {where!r} is {type(value).__name__}; a store keeps bytes.")


def _fold_put(prepared: Prepared, key: bytes, value: bytes, expires_at_s: float | None) -> None:
    if expires_at_s is not None:
        if not math.isfinite(expires_at_s):
            raise InvalidInput(
                f"expires_at_s of {key.decode()!r} is {expires_at_s}.", "Leave it out for no expiry."
            )
        if expires_at_s <= prepared.now_s:
            _fold_delete(prepared, key)
            return
    elif key not in prepared.plain and key not in prepared.special and key not in prepared.deletes:
        prepared.plain[key] = value
        return
    is_reset = key in prepared.deletes
    prepared.deletes.pop(key, None)
    puts = 1
    if prepared.plain.pop(key, None) is not None:
        puts = 2
    earlier = prepared.special.get(key)
    if earlier is not None:
        puts, is_reset = earlier.puts + 1, earlier.is_reset
    prepared.special[key] = KeyWrite(value, expires_at_s, puts, is_reset)


def _fold_delete(prepared: Prepared, key: bytes) -> None:
    prepared.plain.pop(key, None)
    prepared.special.pop(key, None)
    prepared.deletes[key] = None


def _fold_append(prepared: Prepared, log: bytes, value: bytes) -> None:
    last = prepared.log_ops[-1] if prepared.log_ops else None
    if isinstance(last, LogAppend) and last.log == log:
        last.values.append(value)
    else:
        prepared.log_ops.append(LogAppend(log, [value]))
