"""The gateway's part of the audit trail: its chain, anchors, and chains kept for processes without a store."""

from typing import Any

import pytest

from tests.unit.auth.test_audit_chain import make_chain, resealed
from zejzl_ray.auth.audit_anchors import anchors_of
from zejzl_ray.auth.audit_chain import head_after, seal_all, verify_chain
from zejzl_ray.auth.audit_fact import make_fact
from zejzl_ray.commands.records import Records
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.audit import (
    GENESIS,
    AnchorAudit,
    Anchored,
    AuditEntry,
    AuditRecorded,
    ChainHead,
    ReadAudit,
    RecordAudit,
)
from zejzl_ray.errors import Conflict, Forbidden, InvalidInput, NoCapacity, NotFound, ZejzlError
from zejzl_ray.security import audit_keeping, kept_chains
from zejzl_ray.security.audit_keeping import (
    GatewayChain,
    chains,
    decide_anchor,
    decide_forget_idle,
    decide_record,
    head_of,
    read,
    seal_facts,
)
from zejzl_ray.security.draft import AuditFact, SecurityDraft
from zejzl_ray.security.kept_chains import OWN_CHAIN, KeptChain, may_write
from zejzl_ray.store.memory import MemoryState, MemoryStore
from zejzl_ray.testing.clock import ManualClock

CORE = Principal(subject="service:core_orchestrator")
INGRESS = Principal(subject="service:ingress", address="::1")
PC2 = Principal(subject="machine:pc2")


class Gateway:
    """Commits drafts as the journal does."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.state = MemoryState()
        self.store = MemoryStore(clock=self.clock, state=self.state)
        self.records = Records()
        self.epoch = 0

    def draft(self) -> SecurityDraft:
        return SecurityDraft(self.records, self.clock.now_s())

    async def commit(self, draft: SecurityDraft) -> None:
        seal_facts(draft)
        self.epoch = self.epoch or await self.store.take_epoch()
        await self.store.commit(draft.ops, epoch=self.epoch)
        draft.apply()

    async def decide(self, decide: Any, *arguments: Any) -> Any:
        draft = self.draft()
        reply = decide(draft, *arguments)
        await self.commit(draft)
        return reply

    async def tell(self, *names: str) -> None:
        draft = self.draft()
        for name in names:
            draft.tell(
                AuditFact(kind="issued", subject="user:ada", target=name, details={"scope": "a:b:read"})
            )
        await self.commit(draft)

    async def entries(self, chain: str = "") -> list[AuditEntry]:
        page = await read(self.store, self.records, ReadAudit(chain=chain, limit=1000), self.clock.now_s())
        assert verify_chain(page.entries, chain=chain or OWN_CHAIN, head=page.head) is None
        return list(page.entries)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def anchor(entries: list[AuditEntry]) -> AnchorAudit:
    return AnchorAudit(head=head_after(entries))


def record(*entries: AuditEntry) -> RecordAudit:
    return RecordAudit(entries=entries)


# --- the gateway's own chain -----------------------------------------------------------------------------------


async def test_facts_become_entries_of_the_same_commit(gateway: Gateway) -> None:
    assert await gateway.entries() == []
    draft = gateway.draft()
    draft.tell(
        AuditFact(
            "issued",
            "user:ada",
            "security_gateway.issue_token",
            "x",
            "ok",
            "because",
            "::1",
            "req-1",
            3,
            {"a": "b"},
        )
    )
    head = seal_facts(draft)
    assert head is not None
    assert draft.facts == []
    assert seal_facts(draft) == head
    await gateway.commit(draft)
    entry = (await gateway.entries())[0]
    assert entry.model_dump(exclude={"hash"}) == {
        "chain": "security_gateway", "index": 1, "at_s": gateway.clock.now_s(), "kind": "issued",
        "subject": "user:ada", "operation": "security_gateway.issue_token", "target": "x", "outcome": "ok",
        "reason": "because", "address": "::1", "request_id": "req-1", "count": 3, "details": {"a": "b"},
        "previous": GENESIS,
    }  # fmt: skip
    assert head_of(gateway.records, OWN_CHAIN, 0.0) == head == head_after([entry])


async def test_the_chain_goes_on_over_commits_and_what_failed_left_nothing(gateway: Gateway) -> None:
    await gateway.tell("a", "b")
    lost = gateway.draft()
    lost.tell(AuditFact("issued", target="lost"))
    seal_facts(lost)  # and its commit fails
    await gateway.tell("c")
    assert [entry.target for entry in await gateway.entries()] == ["a", "b", "c"]


def test_a_draft_without_facts_changes_nothing(gateway: Gateway) -> None:
    draft = gateway.draft()
    assert seal_facts(draft) is None
    assert draft.ops == []


async def test_old_entries_of_the_chain_are_given_up(gateway: Gateway) -> None:
    for n in range(30):
        draft = gateway.draft()
        draft.tell(AuditFact("issued", target=str(n)))
        GatewayChain(keep=10).seal(draft)
        await gateway.commit(draft)
    page = await read(gateway.store, gateway.records, ReadAudit(), 0.0)
    assert (len(page.entries), page.oldest, page.head.index) == (10, 21, 30)
    assert verify_chain(page.entries, page.entries[0].previous, page.oldest, head=page.head) is None


# --- anchors ---------------------------------------------------------------------------------------------------


async def test_an_anchor_is_an_entry_at_the_place_that_is_answered(gateway: Gateway) -> None:
    await gateway.tell("a")
    chain = make_chain(9)
    draft = gateway.draft()
    draft.tell(AuditFact("issued", target="another command of the same commit"))
    first = decide_anchor(draft, anchor(chain[:4]), CORE)
    second = decide_anchor(draft, anchor(chain[:6]), CORE)
    await gateway.commit(draft)
    assert (first, second) == (Anchored(index=3), Anchored(index=4))
    entries = await gateway.entries()
    found = anchors_of(entries)
    assert [(each.chain, each.index, each.hash, each.entry) for each in found] == [
        ("core_orchestrator", 4, chain[3].hash, 3),
        ("core_orchestrator", 6, chain[5].hash, 4),
    ]
    assert entries[2].subject == CORE.subject
    assert chains(gateway.records, 0.0).heads == (head_after(entries),)


async def test_the_same_head_once_more_is_the_same_anchor(gateway: Gateway) -> None:
    chain = make_chain(4)
    first = await gateway.decide(decide_anchor, anchor(chain), CORE)
    assert await gateway.decide(decide_anchor, anchor(chain), CORE) == first
    assert len(await gateway.entries()) == 1


@pytest.mark.parametrize(("length", "text", "said"), [(2, "Agent", "is behind"), (4, "Other", "is not what")])
async def test_a_head_behind_or_beside_the_last_anchor_is_refused_and_told(
    gateway: Gateway, length: int, text: str, said: str
) -> None:
    await gateway.decide(decide_anchor, anchor(make_chain(4)), CORE)
    reply = await gateway.decide(decide_anchor, anchor(make_chain(length, text=text)), CORE)
    assert isinstance(reply, Conflict)
    assert said in reply.message
    entry = (await gateway.entries())[-1]
    assert (entry.kind, entry.subject, entry.target, entry.outcome) == (
        "security_event", CORE.subject, "core_orchestrator", "conflict",
    )  # fmt: skip
    assert (entry.details["event"], entry.details["known_index"]) == ("audit_chain_changed", "4")
    # the good one is still what the next is compared with
    assert isinstance(await gateway.decide(decide_anchor, anchor(make_chain(9)), CORE), Anchored)


@pytest.mark.parametrize(
    ("subject", "chain", "may"),
    [
        ("service:core_orchestrator", "core_orchestrator", True),
        ("service:core_orchestrator", "core_orchestrator.guard", True),
        ("service:core_orchestrator", "core_orchestrator2", False),
        ("service:core_orchestrator", "resource_manager", False),
        ("service:security_gateway", "security_gateway", False),
        ("service:security_gateway", "security_gateway.guard", True),
        ("service:ingress", "ingress.pc2.8f3a", True),
        ("machine:pc2", "node_agent.pc2", True),
        ("machine:pc2", "node_agent.pc2.8f3a", True),
        ("machine:pc2", "node_agent.pc20", False),
        ("machine:pc2", "pc2", False),
        ("user:core_orchestrator", "core_orchestrator", False),
        ("program:x", "x", False),
        ("anonymous", "", False),
    ],
)
def test_everybody_speaks_for_chains_of_the_own_name_only(subject: str, chain: str, may: bool) -> None:
    assert may_write(Principal(subject=subject), chain) is may


def refused(gateway: Gateway, decide: Any, *arguments: Any) -> ZejzlError:
    draft = gateway.draft()
    with pytest.raises(ZejzlError) as caught:
        decide(draft, *arguments)
    assert (draft.ops, draft.facts) == ([], [])
    return caught.value


async def test_a_chain_of_somebody_else_is_forbidden(gateway: Gateway) -> None:
    chain = make_chain(2)
    assert isinstance(refused(gateway, decide_anchor, anchor(chain), INGRESS), Forbidden)
    assert isinstance(refused(gateway, decide_record, record(*chain), INGRESS), Forbidden)
    own = make_chain(1, OWN_CHAIN)
    root = Principal(subject="service:security_gateway")
    assert isinstance(refused(gateway, decide_record, record(*own), root), Forbidden)
    # machine:pc2 has begun the chain; a machine of the name pc2.x would have it as its own
    taken = make_chain(2, "node_agent.pc2.x")
    await gateway.decide(decide_record, record(*taken), PC2)
    other = Principal(subject="machine:pc2.x")
    assert isinstance(refused(gateway, decide_anchor, anchor(taken), other), Forbidden)


@pytest.mark.parametrize("name", ["", "core_orchestrator/../x", "core orchestrator", "1", "é"])
def test_a_name_that_is_none_is_refused(gateway: Gateway, name: str) -> None:
    request = AnchorAudit(head=ChainHead(chain=name, index=1, hash=GENESIS))
    assert isinstance(refused(gateway, decide_anchor, request, CORE), InvalidInput)


async def test_the_number_of_chains_is_bounded(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_chains, "MAX_CHAINS", 2)
    chain = make_chain(2)
    await gateway.decide(decide_anchor, anchor(chain), CORE)  # with the gateway's own these are two
    assert isinstance(refused(gateway, decide_anchor, anchor(make_chain(1, "ingress")), INGRESS), NoCapacity)
    await gateway.decide(decide_anchor, anchor(make_chain(3)), CORE)


# --- chains of processes without a store -------------------------------------------------------------------------


async def test_entries_of_others_are_kept_in_order_and_once(gateway: Gateway) -> None:
    chain = make_chain(9, "ingress.a1")
    for start, end in ((0, 3), (0, 3), (1, 5), (5, 9), (8, 9)):
        reply = await gateway.decide(decide_record, record(*chain[start:end]), INGRESS)
        assert isinstance(reply, AuditRecorded)
    assert reply.head == head_after(chain)
    assert await gateway.entries("ingress.a1") == chain
    await gateway.tell("a")
    assert [head.chain for head in chains(gateway.records, 0.0).heads] == ["ingress.a1", OWN_CHAIN]
    page = await read(
        gateway.store, gateway.records, ReadAudit(chain="ingress.a1", limit=2, is_newest=True), 0.0
    )
    assert list(page.entries) == chain[-2:]


async def test_a_gap_is_refused_without_a_word_in_the_trail(gateway: Gateway) -> None:
    chain = make_chain(9, "ingress")
    assert isinstance(refused(gateway, decide_record, record(*chain[1:3]), INGRESS), Conflict)
    await gateway.decide(decide_record, record(*chain[:3]), INGRESS)
    assert isinstance(refused(gateway, decide_record, record(*chain[4:]), INGRESS), Conflict)
    assert await gateway.entries() == []


async def test_entries_that_are_no_chain_are_refused(gateway: Gateway) -> None:
    chain = make_chain(4, "ingress")
    wrong = [
        (chain[0], chain[2]),
        (chain[1], chain[0]),
        (chain[0].model_copy(update={"subject": "user:eve"}),),
        (chain[0], make_chain(2, "other")[1]),
    ]
    for entries in wrong:
        assert isinstance(refused(gateway, decide_record, record(*entries), INGRESS), InvalidInput)


@pytest.mark.parametrize("start", [0, 1, 2, 3])
async def test_a_past_that_is_told_in_another_way_is_refused_and_told(gateway: Gateway, start: int) -> None:
    chain, other = make_chain(6, "ingress"), make_chain(6, "ingress", "Other")
    await gateway.decide(decide_record, record(*chain[:3]), INGRESS)
    reply = await gateway.decide(decide_record, record(*other[start:]), INGRESS)
    assert isinstance(reply, Conflict)
    assert await gateway.entries("ingress") == chain[:3]
    entry = (await gateway.entries())[-1]
    assert (entry.kind, entry.target, entry.address) == ("security_event", "ingress", "::1")
    assert isinstance(await gateway.decide(decide_record, record(*chain[3:]), INGRESS), AuditRecorded)


async def test_a_first_entry_that_follows_something_is_refused(gateway: Gateway) -> None:
    entry = resealed(make_chain(1, "ingress")[0], previous="0f" * 32)
    assert isinstance(refused(gateway, decide_record, record(entry), INGRESS), Conflict)


async def test_old_entries_of_others_are_given_up(gateway: Gateway) -> None:
    chain = make_chain(60, "ingress")
    for start in range(0, 60, 5):
        await gateway.decide(decide_record, record(*chain[start : start + 5]), INGRESS, 10)
    page = await read(gateway.store, gateway.records, ReadAudit(chain="ingress"), 0.0)
    assert list(page.entries) == chain[-len(page.entries) :]
    assert 10 <= len(page.entries) <= 15
    assert page.oldest == page.entries[0].index


async def test_chains_that_are_silent_for_long_are_given_up_and_their_names_can_begin_anew(
    gateway: Gateway,
) -> None:
    chain = make_chain(3, "ingress")
    await gateway.decide(decide_record, record(*chain), INGRESS)
    await gateway.decide(decide_anchor, anchor(make_chain(2)), CORE)
    gateway.clock.advance(audit_keeping.IDLE_S)
    await gateway.decide(decide_record, record(*make_chain(1, "node_agent.pc2")), PC2)
    gateway.clock.advance(1.0)
    assert await gateway.decide(decide_forget_idle) == 2
    assert await gateway.decide(decide_forget_idle) == 0
    with pytest.raises(NotFound):
        await gateway.entries("ingress")
    dropped = [entry for entry in await gateway.entries() if entry.kind == "dropped"]
    assert sorted(entry.target for entry in dropped) == ["core_orchestrator", "ingress"]
    anew = seal_all(None, "ingress", [make_fact(1.0, "started")])
    await gateway.decide(decide_record, record(*anew), INGRESS)
    assert await gateway.entries("ingress") == list(anew)
    assert await gateway.entries("node_agent.pc2")


async def test_a_chain_that_is_only_anchored_here_is_not_shown(gateway: Gateway) -> None:
    await gateway.decide(decide_anchor, anchor(make_chain(2)), CORE)
    with pytest.raises(NotFound):
        await gateway.entries("core_orchestrator")
    assert head_of(gateway.records, "core_orchestrator", 0.0) is None
    assert [head.chain for head in chains(gateway.records, 0.0).heads] == [OWN_CHAIN]


def test_a_record_survives_the_store() -> None:
    kept = KeptChain(
        owner="service:ingress", head=ChainHead(chain="x", index=1, hash=GENESIS), log="audit/x/1"
    )
    assert KeptChain.model_validate_json(kept.model_dump_json()) == kept
