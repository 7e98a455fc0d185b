"""What the gateway knows of the audit chains, and who may speak for which."""

import re
from typing import ClassVar, Final

from pydantic import Field

from zejzl_ray.auth.audit_log import oldest_to_keep
from zejzl_ray.commands.records import Record
from zejzl_ray.contracts.access import Principal, PrincipalKind
from zejzl_ray.contracts.audit import ChainHead
from zejzl_ray.contracts.security_gateway import SERVICE
from zejzl_ray.contracts.services import NODE_AGENT
from zejzl_ray.errors import Forbidden, InvalidInput, NoCapacity
from zejzl_ray.security.draft import SecurityDraft
from zejzl_ray.store.protocol import Trim

OWN_CHAIN: Final = SERVICE
MAX_CHAINS: Final = 10_000
MAX_CHAINS_OF_ONE: Final = 2_000
"""Of one subject, so that nobody takes the room of all others."""
_CHAIN_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,127}")


class KeptChain(Record):
    """What the gateway knows of a chain.

    Attributes:
        owner: subject that wrote or anchored it first; nobody else may.
        head: where it stands here; null for a chain that another service keeps.
        log: where its entries are; empty without any.
        oldest: index of the oldest entry that is kept.
        anchor: where it stood when it was anchored last.
        anchored: index of that anchor in the gateway's own chain.
        seen_at_s: when it was written or anchored last.
    """

    KIND: ClassVar[str] = "audit_chain"

    owner: str
    head: ChainHead | None = None
    log: str = ""
    oldest: int = Field(default=1, ge=1)
    anchor: ChainHead | None = None
    anchored: int = 0
    seen_at_s: float = 0.0


def may_write(caller: Principal, chain: str) -> bool:
    """Tell whether the caller may speak for a chain of this name; for the gateway's own chain nobody may."""
    match caller.kind:
        case PrincipalKind.SERVICE:
            name = caller.name
        case PrincipalKind.MACHINE:
            name = f"{NODE_AGENT}.{caller.name}"
        case _:
            return False
    return chain != OWN_CHAIN and (chain == name or chain.startswith(f"{name}."))


def check_owner(draft: SecurityDraft, chain: str, caller: Principal) -> KeptChain | None:
    """Return what is known of a chain after making sure that the caller may speak for it."""
    if not _CHAIN_NAME.fullmatch(chain):
        raise InvalidInput(
            "This is no name of an audit chain.",
            "Use a letter, then letters, digits, '_', '.', ':' or '-', 128 in all.",
        )
    known = draft.get(KeptChain, chain)
    if not may_write(caller, chain) or (known is not None and known.owner != caller.subject):
        raise Forbidden(
            f"{caller.subject} does not write the audit chain {chain}.",
            "A service writes chains that begin with its name, a machine those of its node agent.",
        )
    if known is not None:
        return known
    owners = [record.owner for _, record in draft.all(KeptChain)]
    if owners.count(caller.subject) >= MAX_CHAINS_OF_ONE:
        raise NoCapacity(
            f"{caller.subject} has {MAX_CHAINS_OF_ONE} audit chains already.",
            "Does it start again and again? Those that are silent for long are given up.",
        )
    if len(owners) >= MAX_CHAINS:
        raise NoCapacity(
            f"{MAX_CHAINS} audit chains are known already.",
            "Those that are silent for long are given up; until then there is no room for another.",
        )
    return None


def trim(draft: SecurityDraft, log: str, oldest: int, last: int, keep: int) -> int:
    """Give up old entries of a log in which every entry stands alone; return the oldest that stays."""
    wanted = oldest_to_keep(oldest, last, keep)
    if wanted > oldest:
        draft.ops.append(Trim(log, wanted - 1))
    return wanted
