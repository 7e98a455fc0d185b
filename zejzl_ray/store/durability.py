"""What a store can promise about an acknowledged commit, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Durability:
    """The fsync policy in force.

    Attributes:
        policy: one sentence: what has reached the disk when ``commit`` returns.
        warnings: one sentence for each thing that weakens it; empty when all is well.
    """

    policy: str
    warnings: tuple[str, ...] = ()
