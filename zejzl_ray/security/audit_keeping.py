"""The gateway's part of the audit trail: its own chain, where the others stand, and chains of those without a store.

What the gateway decides and what its chain says of it are one commit. Where a chain stands is a record like all
others, so after a commit in doubt the two are read back together. The entries themselves stay in the store:

================================  ==================================================
log ``audit/security_gateway``     the gateway's own chain, one entry each
log ``audit/<chain>/<ms>``         a chain kept for a process, begun at that wall time
================================  ==================================================
"""

from typing import Final

from zejzl_ray.auth.audit_anchors import anchor_details
from zejzl_ray.auth.audit_chain import encode_entry, head_after, seal_all, verify_chain
from zejzl_ray.auth.audit_fact import Fact, make_fact
from zejzl_ray.auth.audit_log import empty_page, log_name, only_new, read_page
from zejzl_ray.commands.records import Records
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.audit import (
    AnchorAudit,
    Anchored,
    AuditEntry,
    AuditPage,
    AuditRecorded,
    ChainHead,
    Chains,
    ReadAudit,
    RecordAudit,
)
from zejzl_ray.contracts.security_gateway import SERVICE
from zejzl_ray.errors import Conflict, InvalidInput, NotFound
from zejzl_ray.security.draft import AuditFact, SecurityDraft
from zejzl_ray.security.kept_chains import OWN_CHAIN, KeptChain, check_owner, trim
from zejzl_ray.store.protocol import Store, Trim

IDLE_S: Final = 30 * 24 * 3600.0
KEPT_OWN: Final = 1_000_000
KEPT_FOREIGN: Final = 100_000


class GatewayChain:
    """The gateway's own chain.

    Args:
        keep: entries, about; older ones are given up.
    """

    def __init__(self, keep: int = KEPT_OWN) -> None:
        self._keep = keep

    def seal(self, draft: SecurityDraft) -> ChainHead | None:
        """Turn the facts of a draft into entries of the chain; the journal does it once, before it commits.

        Returns:
            Where the chain stands after the commit; null while it has no entry.
        """
        known = draft.get(KeptChain, OWN_CHAIN)
        before = known.head if known is not None else None
        if not draft.facts:
            return before
        entries = seal_all(before, OWN_CHAIN, [_kept_fact(fact, draft.now_s) for fact in draft.facts])
        head = entries.head
        draft.facts.clear()
        log = log_name(OWN_CHAIN)
        for line in entries.lines:
            draft.append(log, line)
        oldest = trim(draft, log, known.oldest if known is not None else 1, head.index, self._keep)
        draft.put(
            OWN_CHAIN,
            KeptChain(owner=f"service:{SERVICE}", head=head, log=log, oldest=oldest, seen_at_s=draft.now_s),
        )
        return head


def seal_facts(draft: SecurityDraft) -> ChainHead | None:
    """Turn the facts of a draft into entries of the gateway's chain, as ``GatewayChain.seal``."""
    return GatewayChain().seal(draft)


def decide_anchor(draft: SecurityDraft, request: AnchorAudit, caller: Principal) -> Anchored | Conflict:
    """Write where a chain stands into the gateway's own.

    Returns:
        The anchor's place, the same one for the same head. Or a ``Conflict``, to be raised once the draft is
        committed, because the trail has to say so: the chain is behind its last anchor, or was written anew.

    Raises:
        Forbidden: the caller may not speak for this chain.
        InvalidInput: this is no name of a chain.
        NoCapacity: too many chains are known already.
    """
    head = request.head
    known = check_owner(draft, head.chain, caller)
    anchor = known.anchor if known is not None else None
    if known is not None and anchor is not None:
        if head == anchor:
            return Anchored(index=known.anchored)
        if head.index < anchor.index or (head.index == anchor.index and head.hash != anchor.hash):
            what = "is behind its last anchor" if head.index < anchor.index else "is not what was anchored"
            return _refused(draft, caller, "anchor_audit", head, anchor, what, request.request_id)
    anchored = _next_index(draft)
    draft.tell(
        AuditFact(
            kind="anchor",
            subject=caller.subject,
            operation=f"{SERVICE}.anchor_audit",
            target=head.chain,
            request_id=request.request_id,
            details=anchor_details(head),
        )
    )
    record = known if known is not None else KeptChain(owner=caller.subject)
    draft.put(
        head.chain,
        record.model_copy(update={"anchor": head, "anchored": anchored, "seen_at_s": draft.now_s}),
    )
    return Anchored(index=anchored)


def decide_record(
    draft: SecurityDraft, request: RecordAudit, caller: Principal, keep: int = KEPT_FOREIGN
) -> AuditRecorded | Conflict:
    """Keep the next entries of a chain for a process that has no store; repeating it is safe.

    Returns:
        Where the chain stands now. Or a ``Conflict``, to be raised once the draft is committed: the caller tells
        entries that are kept already in another way.

    Raises:
        Conflict: an entry is missing.
        Forbidden: the caller may not write this chain.
        InvalidInput: the entries are no chain, or one does not have the hash that it states.
        NoCapacity: too many chains are known already.
    """
    entries = request.entries
    chain = entries[0].chain
    known = check_owner(draft, chain, caller)
    head = known.head if known is not None else None
    broken = verify_chain(entries, entries[0].previous, entries[0].index, chain=chain)
    if broken is not None:
        raise InvalidInput(
            f"The entries are no chain: {broken.explanation}", "Send them as they were sealed."
        )
    if head is not None and (told := _contradicting(entries, head)) is not None:
        return _refused(
            draft,
            caller,
            "record_audit",
            told,
            head,
            "is told in another way than before",
            request.request_id,
        )
    new = only_new(entries, head)
    if not new:
        return AuditRecorded(head=head_after(entries) if head is None else head)
    record = known if known is not None else KeptChain(owner=caller.subject)
    log = record.log or f"{log_name(chain)}/{int(draft.now_s * 1000)}"
    for entry in new:
        draft.append(log, encode_entry(entry))
    oldest = trim(draft, log, record.oldest, new[-1].index, keep)
    stands = head_after(new)
    update = {"head": stands, "log": log, "oldest": oldest, "seen_at_s": draft.now_s}
    draft.put(chain, record.model_copy(update=update))
    return AuditRecorded(head=stands)


def decide_forget_idle(draft: SecurityDraft, idle_s: float = IDLE_S) -> int:
    """Give up chains of processes that have written nothing for so long; the gateway's chain says which.

    Returns:
        How many.
    """
    idle = [
        (chain, record)
        for chain, record in draft.all(KeptChain)
        if chain != OWN_CHAIN and record.seen_at_s < draft.now_s - idle_s
    ]
    for chain, record in idle:
        if record.head is not None:
            draft.ops.append(Trim(record.log, record.head.index))
        draft.delete(KeptChain, chain)
        reason = f"It was silent for {idle_s / 86400:g} days; its entries were given up."
        draft.tell(AuditFact(kind="dropped", target=chain, reason=reason, subject=record.owner, count=1))
    return len(idle)


def chains(records: Records, now_s: float) -> Chains:
    """Return the gateway's own chain and those that it keeps for others, the one that was written last first."""
    kept = [record for _, record in records.all(KeptChain, now_s) if record.head is not None]
    kept.sort(key=lambda record: record.seen_at_s, reverse=True)
    return Chains(heads=tuple(record.head for record in kept if record.head is not None))


def head_of(records: Records, chain: str, now_s: float) -> ChainHead | None:
    """Return where a chain stands here; null for a new one."""
    record = records.get(KeptChain, chain, now_s)
    return record.head if record is not None else None


async def read(store: Store, records: Records, request: ReadAudit, now_s: float) -> AuditPage:
    """Return entries of a chain that the gateway keeps; its own when none is named.

    Raises:
        NotFound: no such chain is kept here.
        StoreUnavailable: the store cannot be reached.
    """
    chain = request.chain or OWN_CHAIN
    record = records.get(KeptChain, chain, now_s)
    if record is None or record.head is None:
        if chain != OWN_CHAIN:
            raise NotFound(f"No audit chain of the name {chain!r} is kept here.", "List the chains first.")
        return empty_page(OWN_CHAIN)
    return await read_page(store, record.log, record.head, record.oldest, request)


def _contradicting(entries: tuple[AuditEntry, ...], head: ChainHead) -> ChainHead | None:
    """Return the place at which linked entries tell the kept head in another way; null when they do not."""
    at = head.index - entries[0].index
    if 0 <= at < len(entries):
        told = entries[at].hash
    elif at == -1:
        told = entries[0].previous
    else:
        return None
    return ChainHead(chain=head.chain, index=head.index, hash=told) if told != head.hash else None


def _refused(
    draft: SecurityDraft,
    caller: Principal,
    operation: str,
    told: ChainHead,
    known: ChainHead,
    what: str,
    request_id: str,
) -> Conflict:
    draft.tell(
        AuditFact(
            kind="security_event",
            subject=caller.subject,
            operation=f"{SERVICE}.{operation}",
            target=told.chain,
            outcome=Conflict.code,
            reason=f"The audit chain {what}: somebody may have changed it.",
            address=caller.address,
            request_id=request_id,
            details={
                "event": "audit_chain_changed",
                "told_index": str(told.index),
                "told_hash": told.hash,
                "known_index": str(known.index),
                "known_hash": known.hash,
            },
        )
    )
    return Conflict(
        f"The audit chain {told.chain} {what}: it was told to be at entry {told.index}, known is entry {known.index}.",
        "Run `zejzl audit verify`, and look at who could write its store.",
    )


def _next_index(draft: SecurityDraft) -> int:
    """Return the index that the next fact of this draft is going to have in the gateway's chain."""
    own = draft.get(KeptChain, OWN_CHAIN)
    return (own.head.index if own is not None and own.head is not None else 0) + len(draft.facts) + 1


def _kept_fact(fact: AuditFact, at_s: float) -> Fact:
    return make_fact(
        at_s, fact.kind, fact.subject, fact.operation, fact.target, fact.outcome, fact.reason, fact.address,
        fact.request_id, fact.count, fact.details,
    )  # fmt: skip
