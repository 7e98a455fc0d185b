"""Which passwords are good enough: long, and none that everybody tries first.

As NIST SP 800-63B has it: no rules on which kinds of characters there have to be, since they make passwords worse, but
no well-known one, no name, no repetition and no run of keys. Texts that look the same are the same (NFKC).
"""

import unicodedata
from functools import cache
from importlib.resources import files
from typing import Final

from pydantic import SecretStr

from zejzl_ray.contracts.policy import PasswordPolicy
from zejzl_ray.errors import InvalidInput

MOST_CHARS: Final = 1024
_LIST: Final = "common_passwords.txt"
# What people put behind or before a word to make it "safe".
_TRIMMINGS: Final = "0123456789!@#$%^&*()-_=+.,:;?/ "
_LEETSPEAK: Final = str.maketrans("@4301!$57", "aaeoiisst")
_ROWS: Final = (
    "abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm",
    "qwertzuiop", "azertyuiop", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p", "!@#$%^&*()",
)  # fmt: skip
_LONGEST_PERIOD: Final = 4
# A name shorter than this says nothing about a long password that happens to hold it.
_LEAST_NAME: Final = 4
# So many characters have to be left once the name, common words and runs are taken away.
_LEAST_REST: Final = 4
_LEAST_DIFFERENT: Final = 5
# So many common words together are a passphrase again.
_ENOUGH_WORDS: Final = 4


def normalised(password: SecretStr) -> bytes:
    """Return what is hashed: the text in NFKC, as UTF-8."""
    return _plain(password).encode("utf-8", "surrogatepass")


def require_good(password: SecretStr, user: str, policy: PasswordPolicy) -> None:
    """Refuse a weak password; the message says why and never what was typed.

    Raises:
        InvalidInput: too short, too long, well known, the name, a repetition or a run of keys.
    """
    problem = why_weak(password, user, policy)
    if problem:
        raise InvalidInput(
            f"password: {problem}.",
            f"Take at least {policy.least_length} characters, for example four words that have nothing in common.",
        )


def why_weak(password: SecretStr, user: str, policy: PasswordPolicy) -> str:
    """Return what is wrong with a password; empty when nothing is."""
    text = _plain(password)
    if len(text) < policy.least_length:
        return f"it has fewer than {policy.least_length} characters"
    if len(password.get_secret_value()) > MOST_CHARS:
        return f"it has more than {MOST_CHARS} characters"
    folded = text.casefold()
    if _is_repetition(folded):
        return "it repeats the same few characters"
    if _is_run(folded):
        return "it is a run of neighbouring keys, letters or digits"
    if _is_name(folded, unicodedata.normalize("NFKC", user).casefold()):
        return "it is little more than the name"
    if _is_common(folded):
        return "it is one of the passwords that are tried first"
    return ""


def _plain(password: SecretStr) -> str:
    return unicodedata.normalize("NFKC", password.get_secret_value())


def _is_repetition(text: str) -> bool:
    """Tell whether it is one short piece again and again, such as ``aaaaaaaaaaaa`` or ``abababababab``."""
    return len(set(text)) < _LEAST_DIFFERENT or any(
        text == (text[:period] * (len(text) // period + 1))[: len(text)]
        for period in range(1, _LONGEST_PERIOD + 1)
    )


def _is_run(text: str) -> bool:
    """Tell whether every piece of it follows a row of keys, in either direction, or the whole is such a run again."""
    rest = text
    for row in _ROWS:
        for line in (row, row[::-1]):
            rest = _without_runs(rest, line)
    return len(rest) < _LEAST_REST


def _without_runs(text: str, line: str) -> str:
    """Take away every piece of at least four characters that stands so in ``line``."""
    kept = []
    start = 0
    while start < len(text):
        end = start + 4
        while end <= len(text) and text[start:end] in line:
            end += 1
        length = end - 1 - start
        if length >= 4:
            start += length
        else:
            kept.append(text[start])
            start += 1
    return "".join(kept)


def _is_name(text: str, user: str) -> bool:
    if len(user) < _LEAST_NAME:
        return text.strip(_TRIMMINGS) == user
    return user in text and len(text.replace(user, "").strip(_TRIMMINGS)) < _LEAST_REST


def _is_common(text: str) -> bool:
    """Tell whether it is a common password, or common ones with digits and signs around and between them."""
    common = _common()
    stripped = text.strip(_TRIMMINGS)
    for candidate in (text, stripped, text.translate(_LEETSPEAK), stripped.translate(_LEETSPEAK)):
        if candidate in common:
            return True
        rest, words = candidate, 0
        for word in _longest_first():
            words += word in rest
            rest = rest.replace(word, " ")
        if words < _ENOUGH_WORDS and len(rest.replace(" ", "").strip(_TRIMMINGS)) < _LEAST_REST:
            return True
    return False


@cache
def _common() -> frozenset[str]:
    lines = files(__package__).joinpath(_LIST).read_text(encoding="utf-8").splitlines()
    return frozenset(line.strip().casefold() for line in lines if line.strip() and not line.startswith("# "))


@cache
def _longest_first() -> tuple[str, ...]:
    """Return the common words that say something inside of a longer text, longest first."""
    return tuple(sorted((word for word in _common() if len(word) >= 5), key=len, reverse=True))
