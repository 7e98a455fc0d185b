"""Handing entries over to whoever keeps them."""

import pytest

from tests.unit.auth.test_audit_chain import CHAIN, make_chain
from zejzl_ray.auth.audit_chain import head_after
from zejzl_ray.auth.audit_remote import RemoteAuditSink
from zejzl_ray.contracts.audit import AuditEntry, AuditRecorded, ChainHead, RecordAudit
from zejzl_ray.errors import ServiceUnavailable


class Keeper:
    def __init__(self) -> None:
        self.requests: list[RecordAudit] = []
        self.is_away = False

    async def record(self, request: RecordAudit) -> AuditRecorded:
        if self.is_away:
            raise ServiceUnavailable("away")
        self.requests.append(request)
        return AuditRecorded(head=head_after(request.entries))


async def test_entries_are_handed_over_in_requests_of_a_thousand() -> None:
    keeper, chain = Keeper(), make_chain(2001)
    sink = RemoteAuditSink(keeper.record)
    await sink.append(chain)
    assert [len(request.entries) for request in keeper.requests] == [1000, 1000, 1]
    told: list[AuditEntry] = [entry for request in keeper.requests for entry in request.entries]
    assert told == chain
    assert len({request.request_id for request in keeper.requests}) == 3


async def test_a_chain_is_new_with_its_process_and_known_from_then_on() -> None:
    keeper, chain = Keeper(), make_chain(2)
    sink = RemoteAuditSink(keeper.record)
    assert await sink.head(CHAIN) is None
    await sink.append(chain)
    assert await sink.head(CHAIN) == head_after(chain)
    assert await sink.head("other") is None


async def test_where_the_keeper_can_be_asked_it_is_asked() -> None:
    head = ChainHead(chain=CHAIN, index=7, hash="ab" * 32)

    async def ask(chain: str) -> ChainHead | None:
        return head if chain == CHAIN else None

    sink = RemoteAuditSink(Keeper().record, ask)
    assert (await sink.head(CHAIN), await sink.head("other")) == (head, None)


async def test_a_keeper_that_is_away_is_said() -> None:
    keeper = Keeper()
    keeper.is_away = True
    with pytest.raises(ServiceUnavailable):
        await RemoteAuditSink(keeper.record).append(make_chain(1))
