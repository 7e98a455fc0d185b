"""A gateway, and hosts whose guards follow it: whose proof counts where."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pydantic import SecretStr

from tests.unit.security.gateway_bench import Bench, call
from zejzl_ray.auth.audit_remote import RemoteAuditSink
from zejzl_ray.auth.feed_follower import FeedFollower
from zejzl_ray.auth.process_security import ProcessSecurity, SecurityPorts
from zejzl_ray.cluster.mail_proofs import MailProofs
from zejzl_ray.contracts.tokens import IssueToken, Tokens
from zejzl_ray.errors import ZejzlError
from zejzl_ray.security import service_credentials
from zejzl_ray.security.service import SecurityGateway


@dataclass
class MailWorld:
    """One gateway in the process of the test.

    Attributes:
        failure: raised by each exchange while it is set.
        asked: the exchanges.
    """

    bench: Bench
    gateway: SecurityGateway
    failure: ZejzlError | None = None
    asked: list[IssueToken] = field(default_factory=list)

    async def issue(self, request: IssueToken) -> Tokens:
        """Issue a token: this is the ``TokenIssuer`` of the hosts."""
        self.asked.append(request)
        if self.failure is not None:
            raise self.failure
        return await self.gateway.issue_token(request, call())

    async def process(self, service: str = "agent_host") -> ProcessSecurity:
        """Return the security of a process that has heard the gateway's news."""
        sink = RemoteAuditSink(self.gateway.keep_entries, self.gateway.chain_head)
        ports = SecurityPorts(feed=self.gateway, audit=sink)
        security = ProcessSecurity(service, f"{service}.test", ports, self.bench.clock)
        await self.hear(security)
        return security

    async def hear(self, security: ProcessSecurity) -> None:
        """Let a process hear what is new."""
        await FeedFollower(self.gateway, security.state, self.bench.clock, timeout_s=0.0).read_once()

    def credential(self, agent: str) -> SecretStr:
        """Return the credential of an agent, as the composition root hands it out."""
        return service_credentials.derive(self.bench.master, f"agent:{agent}")

    def proofs(self, *agents: str, guard: ProcessSecurity | None = None) -> MailProofs:
        """Return what gives the proofs of a host with these agents."""
        credentials = {agent: self.credential(agent) for agent in agents}
        return MailProofs(
            self, credentials, self.bench.clock, guard=None if guard is None else guard.guard, wait_s=1.0
        )


@asynccontextmanager
async def mail_world() -> AsyncIterator[MailWorld]:
    """Return a world whose gateway ends with it."""
    bench = Bench()
    async with bench.gateway() as gateway:
        yield MailWorld(bench, gateway)
