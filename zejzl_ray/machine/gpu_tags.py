"""Labels that say which cards a machine has, so that work can ask Ray for a kind of card."""

import re
from typing import Final

from zejzl_ray.machine.vram import VramSource, VramTotal

CARDS_LABEL: Final = "zejzl.io/gpus"
MODEL_LABEL: Final = "zejzl.io/gpu-model"
MEMORY_LABEL: Final = "zejzl.io/gpu-memory"
SIMULATED_LABEL: Final = "zejzl.io/gpu-simulated"
_MAKER: Final = re.compile(r"^(NVIDIA\s+)?(GeForce\s+)?", re.IGNORECASE)
_LONGEST_VALUE: Final = 63  # of a label, by Ray


def gpu_tags(total: VramTotal) -> dict[str, str]:
    """Return labels that say which cards a machine has; the model and memory are those of its largest.

    Work can ask for them, for example ``label_selector={"zejzl.io/gpu-model": "RTX-4090"}``.
    """
    tags = {CARDS_LABEL: str(len(total.cards))}
    if not total.cards:
        return tags
    largest = max(total.cards, key=lambda uuid: (total.cards[uuid], uuid))
    model = label_value(_MAKER.sub("", total.models.get(largest, "")))
    if model:
        tags[MODEL_LABEL] = model
    if total.cards[largest]:
        tags[MEMORY_LABEL] = f"{max(1, round(total.cards[largest] / 1024))}g"
    if total.source is VramSource.SIMULATED:
        tags[SIMULATED_LABEL] = "true"
    return tags


def label_value(text: str) -> str:
    """Return a text as the value of a label: letters, digits, ``-``, ``_`` and ``.``, 63 at most."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text)[:_LONGEST_VALUE].strip("-_.")
