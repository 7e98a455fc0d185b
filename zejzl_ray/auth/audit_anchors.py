"""Where chains once stood, as the gateway's chain tells it, against what is found of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from zejzl_ray.auth.audit_chain import Broken, Fault
from zejzl_ray.contracts.audit import AuditEntry, ChainHead


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a chain stood when the gateway was told; ``entry`` is the anchor's index in the gateway's chain."""

    chain: str
    index: int
    hash: str
    entry: int


@dataclass(frozen=True, slots=True)
class KeptHashes:
    """What is found of a chain, for the comparison with its anchors.

    Attributes:
        last: index of the last entry; 0 when the chain is empty or gone.
        oldest: index of the oldest entry that is kept; older anchors cannot be compared.
        hashes: index -> hash, at least for the anchored indexes.
    """

    last: int
    oldest: int = 1
    hashes: Mapping[int, str] = field(default_factory=dict)


def anchor_details(head: ChainHead) -> dict[str, str]:
    """Return the details of an entry of kind ``anchor`` that says where a chain stands."""
    return {"index": str(head.index), "hash": head.hash}


def anchors_of(entries: Iterable[AuditEntry]) -> list[Anchor]:
    """Return the anchors among the entries of the gateway's chain, in their order."""
    return [
        Anchor(entry.target, int(index), entry.details.get("hash", ""), entry.index)
        for entry in entries
        if entry.kind == "anchor" and (index := entry.details.get("index", "")).isdecimal()
    ]


def verify_anchors(chains: Mapping[str, KeptHashes], anchors: Iterable[Anchor]) -> list[Broken]:
    """Compare chains with where they once stood; at most one finding a chain, its first.

    Args:
        chains: what is found of each chain. Anchors of a chain that is not among them are passed over.
        anchors: from the gateway's chain, which was checked before.
    """
    broken: dict[str, Broken] = {}
    for anchor in anchors:
        kept = chains.get(anchor.chain)
        if kept is None or anchor.index < kept.oldest:
            continue
        found = _against_anchor(kept, anchor)
        known = broken.get(anchor.chain)
        if found is not None and (known is None or found.index < known.index):
            broken[anchor.chain] = found
    return list(broken.values())


def _against_anchor(kept: KeptHashes, anchor: Anchor) -> Broken | None:
    if anchor.index > kept.last:
        said = (
            f"It stood at entry {anchor.index} when entry {anchor.entry} of the gateway's chain was written."
        )
        return Broken(anchor.chain, kept.last + 1, Fault.CUT_AT_END, said)
    if kept.hashes.get(anchor.index) != anchor.hash:
        said = f"Its entry {anchor.index} is not the one that entry {anchor.entry} of the gateway's chain states."
        return Broken(anchor.chain, anchor.index, Fault.WRITTEN_ANEW, said)
    return None
