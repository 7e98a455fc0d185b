"""Counters with one label for what happens seldom: drops by reason, time-outs by target, retries by operation."""

from typing import Final

OTHER: Final = "(other)"


class Counters:
    """Counts by name and label, with a bound on the labels of a name.

    Args:
        max_labels: distinct labels a name; later ones are counted as ``(other)``.
        max_names: distinct names; later ones are not counted.
    """

    __slots__ = ("_max_labels", "_max_names", "_values")

    def __init__(self, *, max_labels: int = 200, max_names: int = 100) -> None:
        self._max_labels = max_labels
        self._max_names = max_names
        self._values: dict[str, dict[str, int]] = {}

    def add(self, name: str, label: str = "", count: int = 1) -> None:
        """Count; ``count`` is not negative."""
        labels = self._values.get(name)
        if labels is None:
            if len(self._values) >= self._max_names:
                return
            labels = self._values[name] = {}
        if label not in labels and len(labels) >= self._max_labels:
            label = OTHER
        labels[label] = labels.get(label, 0) + count

    def value(self, name: str, label: str | None = None) -> int:
        """Return the count of a label, or of all labels of the name."""
        labels = self._values.get(name, {})
        return sum(labels.values()) if label is None else labels.get(label, 0)

    def values(self) -> dict[tuple[str, str], int]:
        """Return a copy of all counts, by (name, label)."""
        return {
            (name, label): count
            for name, labels in list(self._values.items())
            for label, count in list(labels.items())
        }
