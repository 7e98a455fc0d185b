"""Corrections that only the text of an old file can take: repeated declarations, bare variables."""

from collections.abc import Mapping
from typing import Any, Final

from zejzl_ray.fleet.corrections import TEXT_CORRECTIONS, Corrected
from zejzl_ray.fleet.legacy_nodes import Entry
from zejzl_ray.fleet.legacy_text import LegacyText

_REASON: Final = (
    "Two declarations of one agent contradict each other, and who reads the file decides which one counts. "
    "The main list wins: the launchers start from it, and its health port is port plus 1000 like the others."
)


def correct_texts(texts: Mapping[str, str]) -> tuple[dict[str, str], tuple[Corrected, ...]]:
    """Return the corrected texts by file name, and what was done. Doing it again changes nothing.

    Of repeated declarations in one file the first wins; it gets the fields that only the others have.

    Raises:
        FleetInvalid: a text cannot be edited in place.
    """
    corrected: dict[str, str] = {}
    done: list[Corrected] = []
    for file, text in texts.items():
        document = LegacyText(text, file)
        done += _merge_repeated(document)
        result = document.result()
        for rule in TEXT_CORRECTIONS:
            outcome = rule.apply_to_text(result, file)
            if outcome is not None:
                result = outcome[0]
                done.append(outcome[1])
        corrected[file] = result
    return corrected, tuple(done)


def _merge_repeated(document: LegacyText) -> list[Corrected]:
    done: list[Corrected] = []
    later: list[Entry] = []
    for name in dict.fromkeys(entry.name for entry in document.entries):
        first, *others = document.named(name)
        if not others:
            continue
        added, dropped = _compared(first, others)
        if added:
            document.add_fields(first, added)
        for other in others:
            document.remove(other)
        later += others
        change = f"declared {len(others) + 1} times, now once in {first.path}"
        change += f"; taken over: {', '.join(added)}" if added else ""
        change += f"; dropped: {', '.join(dropped)}" if dropped else ""
        done.append(Corrected("merge-repeated", name, change, _REASON))
    document.remove_emptied_lists(later)
    return done


def _compared(first: Entry, others: list[Entry]) -> tuple[dict[str, Any], list[str]]:
    """The fields that only the others have, and in words the values that lose against the first."""
    have = first.fields()
    added: dict[str, Any] = {}
    dropped: list[str] = []
    for other in others:
        for key, value in other.fields().items():
            if key not in have:
                added.setdefault(key, value)
            elif have[key] != value:
                dropped.append(f"{key} {value} (kept: {have[key]})")
    return added, dropped
