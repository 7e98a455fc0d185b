"""Which word was probably meant."""

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str], *, cutoff: float = 0.7) -> str:
    """Return the known word that ``word`` was probably meant to be; empty when none is near."""
    by_folded = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(word.lower()[:128], by_folded, n=1, cutoff=cutoff)
    return by_folded[found[0]] if found else ""


def did_you_mean(word: str, known: Iterable[str], otherwise: str, *, cutoff: float = 0.7) -> str:
    """Return a remedy: the near word as a question, or ``otherwise``."""
    near = closest(word, known, cutoff=cutoff)
    return f"Did you mean {near}?" if near else otherwise
