"""Reading the audit chains of all services, and checking them against one another."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from zejzl_ray.auth.audit_anchors import Anchor, KeptHashes, anchors_of, verify_anchors
from zejzl_ray.auth.audit_chain import Broken, Fault, verify_chain
from zejzl_ray.contracts import security_gateway
from zejzl_ray.contracts.audit import AuditEntry, AuditPage, ChainHead, Chains, ListChains, ReadAudit
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.services import BY_SERVICE, SERVICE_NAMES
from zejzl_ray.errors import (
    DeadlineExceeded,
    Forbidden,
    NotFound,
    RateLimited,
    StoreError,
    Unavailable,
    ZejzlError,
)
from zejzl_ray.sdk.client import Client

PAGE: Final = 1000
GATEWAY: Final = security_gateway.SERVICE
_CALL_TIMEOUT_S: Final = 10.0
_RATE_ATTEMPTS: Final = 5
_MAX_RATE_PAUSE_S: Final = 5.0
# what makes one service unreadable while others may still be read
UNREADABLE: Final = (Unavailable, DeadlineExceeded, Forbidden, NotFound, StoreError)

R = TypeVar("R", bound=Contract)


@dataclass(frozen=True, slots=True)
class ServedChain:
    """A chain, and the service that shows it."""

    service: str
    head: ChainHead

    @property
    def name(self) -> str:
        """The chain's name."""
        return self.head.chain


@dataclass(frozen=True, slots=True)
class ChainState:
    """How a chain was found; ``anchored`` is the last of its entries that an anchor vouches for, 0 without one."""

    service: str
    chain: str
    oldest: int
    last: int
    anchored: int = 0
    broken: Broken | None = None


@dataclass(slots=True)
class Verdict:
    """What a check of all chains has found; ``unread`` says of a service or chain why it could not be read."""

    states: list[ChainState] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def is_broken(self) -> bool:
        """Whether a chain is not as it was written."""
        return any(state.broken is not None for state in self.states)


class TrailReader:
    """Reads the chains of all services.

    Args:
        client: the way to the services.

    Attributes:
        unread: service or chain -> why it could not be read.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.unread: dict[str, str] = {}
        self._last_error: ZejzlError | None = None

    def chains(self, only: str = "") -> list[ServedChain]:
        """Return all chains; services that do not answer are named in ``unread``.

        Args:
            only: this chain alone.

        Raises:
            Unauthenticated: the token does not count.
            ZejzlError: no service can be read at all.
        """
        found: list[ServedChain] = []
        missing: dict[str, str] = {}
        for service in SERVICE_NAMES:
            try:
                heads = self._call(service, "list_audit_chains", ListChains(), Chains).heads
            except UNREADABLE as error:
                missing[service] = error.message or error.code
                self._last_error = error
            else:
                found += [ServedChain(service, head) for head in heads if only in {"", head.chain}]
        if len(missing) == len(SERVICE_NAMES) and self._last_error is not None:
            raise self._last_error
        self.unread = missing
        return found

    def page(self, chain: ServedChain, after: int, limit: int = PAGE) -> AuditPage:
        """Return entries behind ``after``, oldest first."""
        request = ReadAudit(chain=chain.name, after=after, limit=limit)
        return self._call(chain.service, "read_audit", request, AuditPage)

    def first_page(self, chain: ServedChain) -> AuditPage:
        """Return the oldest entries that are kept."""
        return self.page(chain, 0)

    def rest(self, chain: ServedChain, first: AuditPage) -> Iterator[AuditEntry]:
        """Yield the entries of ``first`` and all that follow, up to the head that it states."""
        page, after = first, first.oldest - 1
        while page.entries:
            # A store that somebody has cut may begin later; the check will say so, the reading goes on from there.
            after = max(after + len(page.entries), page.entries[-1].index)
            yield from page.entries
            if after >= first.head.index:
                return
            page = self.page(chain, after)

    def newest(self, chain: ServedChain, count: int, searched: int, wanted: "Wanted") -> list[AuditEntry]:
        """Return the last entries that are wanted, oldest first.

        Args:
            chain: which one.
            count: how many at most.
            searched: how many entries are looked at, from the end.
            wanted: which ones count.
        """
        request = ReadAudit(chain=chain.name, limit=min(PAGE, searched), is_newest=True)
        page = self._call(chain.service, "read_audit", request, AuditPage)
        found = [entry for entry in page.entries if wanted.fits(entry)]
        end = page.head.index - len(page.entries)
        while len(found) < count and end >= page.oldest and page.head.index - end < searched:
            start = max(page.oldest - 1, end - PAGE)
            older = self.page(chain, start, end - start).entries
            found = [entry for entry in older if wanted.fits(entry)] + found
            end = start
        return found[-count:]

    def note(self, chain: ServedChain, error: ZejzlError) -> None:
        """Remember that a chain could not be read."""
        self.unread[chain.name] = error.message or error.code

    def _call(self, service: str, name: str, request: Contract, reply: type[R]) -> R:
        for attempt in range(1, _RATE_ATTEMPTS + 1):
            try:
                answer = self._client.call(BY_SERVICE[service][name], request, timeout_s=_CALL_TIMEOUT_S)
            except RateLimited as error:
                if attempt == _RATE_ATTEMPTS:
                    raise
                pause(min(error.retry_after_s, _MAX_RATE_PAUSE_S))
            else:
                break
        if not isinstance(answer, reply):
            raise StoreError(f"{service} answers {name} with something else.")
        return answer


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are asked for; an empty field stands for all."""

    subject: str = ""
    kind: str = ""

    @property
    def is_all(self) -> bool:
        """Whether every entry fits."""
        return not self.subject and not self.kind

    def fits(self, entry: AuditEntry) -> bool:
        """Tell whether the entry is asked for."""
        return self.subject in {"", entry.subject} and self.kind in {"", entry.kind}


def pause(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


class _Collector:
    """Passes entries on and keeps what the comparison needs: anchors, chains given up, hashes at anchored places."""

    def __init__(self, anchored: Iterable[int] = ()) -> None:
        self._places = frozenset(anchored)
        self.anchors: list[Anchor] = []
        self.given_up: set[str] = set()
        self.hashes: dict[int, str] = {}
        self.last = 0

    def through(self, entries: Iterable[AuditEntry]) -> Iterator[AuditEntry]:
        for entry in entries:
            self.last = entry.index
            if entry.index in self._places:
                self.hashes[entry.index] = entry.hash
            if entry.kind == "anchor":
                self.anchors += anchors_of((entry,))
            elif entry.kind == "dropped" and entry.target:
                self.given_up.add(entry.target)
            yield entry


def verify_all(reader: TrailReader) -> Verdict:
    """Check every chain for itself, and all against the anchors in the gateway's.

    Raises:
        Unauthenticated: the token does not count.
        ZejzlError: no service can be read at all.
    """
    chains = reader.chains()
    # The gateway's first: what is anchored by then has to be there when the others are read.
    chains.sort(key=lambda chain: (chain.name != GATEWAY, chain.service, chain.name))
    verdict = Verdict()
    anchors: dict[str, list[Anchor]] = {}
    given_up: set[str] = set()
    for chain in chains:
        of_chain = anchors.get(chain.name, [])
        collector = _Collector(anchor.index for anchor in of_chain)
        try:
            verdict.states.append(_verify_one(reader, chain, collector, of_chain))
        except UNREADABLE as error:
            reader.note(chain, error)
            continue
        if chain.name == GATEWAY and chain.service == GATEWAY:
            given_up = collector.given_up
            for anchor in collector.anchors:
                anchors.setdefault(anchor.chain, []).append(anchor)
    seen = {chain.name for chain in chains}
    for name, of_chain in anchors.items():
        if name not in seen and name not in given_up:
            _judge_absent(name, of_chain[0], reader, verdict)
    verdict.unread = reader.unread
    return verdict


def _verify_one(
    reader: TrailReader, chain: ServedChain, collector: _Collector, anchors: Sequence[Anchor]
) -> ChainState:
    first = reader.first_page(chain)
    # Entries before the oldest were given up on purpose; what stood before it is taken as it is said.
    previous = {"previous": first.entries[0].previous} if first.oldest > 1 and first.entries else {}
    entries = collector.through(reader.rest(chain, first))
    broken = verify_chain(entries, first_index=first.oldest, chain=chain.name, head=first.head, **previous)
    if broken is None:
        kept = KeptHashes(collector.last, first.oldest, collector.hashes)
        broken = next(iter(verify_anchors({chain.name: kept}, anchors)), None)
    anchored = max((anchor.index for anchor in anchors), default=0)
    return ChainState(chain.service, chain.name, first.oldest, first.head.index, anchored, broken)


def _judge_absent(name: str, anchor: Anchor, reader: TrailReader, verdict: Verdict) -> None:
    """Say of an anchored chain that nobody shows whether it is gone or its service only does not answer."""
    owner = name.partition(".")[0]
    keeper = owner if owner in SERVICE_NAMES else GATEWAY
    if keeper in reader.unread:
        return
    said = f"Entry {anchor.entry} of the gateway's chain anchors it, and {keeper} does not have it."
    verdict.states.append(ChainState(keeper, name, 1, 0, anchor.index, Broken(name, 1, Fault.GONE, said)))
