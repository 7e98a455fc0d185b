"""A gateway on a memory store, with who calls it, for the tests of this folder."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from zejzl_ray.contracts.access import AuthenticatedCall, Principal
from zejzl_ray.contracts.call import Forwarded
from zejzl_ray.contracts.tokens import CredentialGrant, IssueToken, PasswordGrant, Tokens
from zejzl_ray.errors import StoreUnavailable
from zejzl_ray.security import service_credentials
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.config import SecurityConfig
from zejzl_ray.security.passwords import HashingSettings
from zejzl_ray.security.service import SecurityGateway
from zejzl_ray.store.memory import MemoryState, MemoryStore
from zejzl_ray.testing import ManualClock

MASTER_LINE = "a1" * 32
PASSWORD = SecretStr("four words without sense")
CHEAP = HashingSettings(time_cost=1, memory_kib=8, parallelism=1, threads=1)
ADMIN = Principal(subject="user:root", grants=("*:*:*",))
NOBODY_KNOWN = Principal(subject="anonymous")


@dataclass
class Recorder:
    """An audit recorder that keeps what it is told."""

    told: list[dict[str, Any]] = field(default_factory=list)

    def record(
        self,
        kind: str,
        *,
        subject: str = "",
        operation: str = "",
        target: str = "",
        outcome: str = "ok",
        reason: str = "",
        address: str = "",
        request_id: str = "",
        count: int = 1,
        details: Mapping[str, str] | None = None,
    ) -> None:
        self.told.append(
            {"kind": kind, "subject": subject, "target": target, "reason": reason, "count": count}
        )

    def count_grant(self, subject: str, operation: str) -> None:
        self.told.append({"kind": "counted", "subject": subject, "operation": operation})


class LosingStore(MemoryStore):
    """A store whose answer to a commit can get lost, before or after the commit happened."""

    lose: str = ""

    async def commit(self, *args: Any, **kwargs: Any) -> None:
        if self.lose == "before":
            raise StoreUnavailable("lost")
        await super().commit(*args, **kwargs)
        if self.lose == "after":
            raise StoreUnavailable("lost")


@dataclass
class Bench:
    """What outlives one gateway: store, clock, master key."""

    clock: ManualClock = field(default_factory=ManualClock)
    state: MemoryState = field(default_factory=MemoryState)
    config: SecurityConfig = field(default_factory=SecurityConfig)
    master: MasterKeys = field(default_factory=lambda: MasterKeys.parse(MASTER_LINE))
    audit: Recorder = field(default_factory=Recorder)
    store: LosingStore = field(init=False)

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[SecurityGateway]:
        self.store = LosingStore(clock=self.clock, state=self.state)
        gateway = SecurityGateway(self.store, self.clock, self.config, self.master, self.audit, hashing=CHEAP)
        await gateway.start()
        try:
            yield gateway
        finally:
            await gateway.stop()

    def service_token(self, service: str = "core_orchestrator", **more: Any) -> IssueToken:
        text = service_credentials.derive(self.master, f"service:{service}")
        return IssueToken(grant=CredentialGrant(credential=text), **more)


def call(principal: Principal = ADMIN, address: str = "") -> AuthenticatedCall:
    """Return a call as the guard makes it."""
    return AuthenticatedCall(principal=principal.model_copy(update={"address": address}))


def door_call(address: str = "192.0.2.7", **more: Any) -> AuthenticatedCall:
    """Return the call of a door that exchanges the proof of a request that it holds."""
    forwarded = Forwarded(address=address, proof=SecretStr("of the door"), is_exchange=True)
    return call(NOBODY_KNOWN, address).model_copy(update={"forwarded": forwarded, **more})


async def log_in(
    gateway: SecurityGateway, user: str = "ada", password: SecretStr = PASSWORD, **more: Any
) -> Tokens:
    """Log a person in from an address."""
    request = IssueToken(grant=PasswordGrant(user=user, password=password), **more)
    return await gateway.issue_token(request, call(NOBODY_KNOWN, "192.0.2.7"))
