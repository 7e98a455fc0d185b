"""security_gateway: who is who, who may do what, and what is known of it, as a service without Ray.

The operations stand by subject in ``*_operations.py``, each a few lines; what they decide stands in the module of the
subject. ``service_core.py`` is the way that every command takes.
"""

import asyncio
import os

from zejzl_ray.auth.ports import AuditRecorder
from zejzl_ray.clock import Clock
from zejzl_ray.commands.readiness import Condition, failed_or_ok, judge_health
from zejzl_ray.commands.serving import not_serving, tick_until
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.policy import Policy
from zejzl_ray.contracts.security_gateway import SERVICE
from zejzl_ray.errors import ServiceUnavailable, StoreError
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.audit_operations import AuditOperations
from zejzl_ray.security.config import SecurityConfig
from zejzl_ray.security.credential_operations import CredentialOperations
from zejzl_ray.security.passwords import HashingSettings
from zejzl_ray.security.people_operations import PeopleOperations
from zejzl_ray.security.policy_file import default_policy
from zejzl_ray.security.policy_operations import PolicyOperations
from zejzl_ray.security.secret_operations import SecretOperations
from zejzl_ray.security.session_operations import SessionOperations
from zejzl_ray.security.signing_keys import SigningKeyRecord, signing_key
from zejzl_ray.security.token_operations import TokenOperations
from zejzl_ray.security.upkeep import Upkeep
from zejzl_ray.store.protocol import Store


class SecurityGateway(
    TokenOperations,
    SessionOperations,
    CredentialOperations,
    PeopleOperations,
    PolicyOperations,
    SecretOperations,
    AuditOperations,
    Upkeep,
):
    """The gateway.

    When a command returns, it is durable under the store's policy, and every verifier with a connected feed hears of it
    at once. When it raises, it has changed nothing, except for ``StoreUnavailable`` and ``DeadlineExceeded``: then it
    may still take effect, and repeating it with the same ``request_id`` is safe. Access tokens for credentials are
    issued without waiting for the store; their entries in the audit trail are buffered.

    It trusts the principal of each call, which the guard of its process has proved. It is the feed of that guard, too:
    ``watch`` and ``fetch_keys``.

    Args:
        store: the gateway's own namespace; the caller closes it after ``stop``.
        clock: source of time.
        config: lives, limits.
        master: opens what is encrypted at rest; the services' credentials follow from it.
        audit: is told of the tokens that are given out. Everything else goes into the gateway's own chain, with the
            commit that it is about.
        policy: in force until one is set; null: the shipped one.
        hashing: costs and bounds of hashing passwords.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        config: SecurityConfig | None,
        master: MasterKeys,
        audit: AuditRecorder,
        *,
        policy: Policy | None = None,
        hashing: HashingSettings | None = None,
    ) -> None:
        super().__init__(
            store, clock, config or SecurityConfig(), master, audit, policy or default_policy(), hashing
        )
        self._started_at_s = 0.0

    async def start(self) -> None:
        """Become the writer, load the records, make the first keys, and begin to answer.

        Raises:
            StoreUnavailable: the store cannot be reached; safe to call again.
            StoreError: something stored cannot be read: by this version, or with these master keys.
        """
        await self._journal.open()
        for _, record in self.records.all(SigningKeyRecord, self._clock.now_s()):
            self._ring.private_of(record)  # a wrong key file is found now and not with the first login
        self._login.load(self.records)
        # Before the first answer: nobody gets to see a gateway without keys.
        has_tags = self._tag_key.load(self.records, self._clock.now_s())
        if not has_tags or self._ring.is_due(self.records, self._clock.now_s()):
            await self._submit("start", self._decide_keys)
        self._tag_key.load(self.records, self._clock.now_s())
        self._started_at_s = self._clock.now_s()
        self._is_serving = True

    async def run(self, stop_event: asyncio.Event) -> None:
        """Tick until ``stop_event`` is set or another instance has taken over."""
        await tick_until(stop_event, self._config.tick_s, self.tick, lambda: self.is_fenced)

    async def stop(self) -> None:
        """Write what is pending, finish what waits, and refuse everything from now on; safe to repeat."""
        if self._is_serving and not self.is_fenced:
            faults: list[str] = []
            await self._do(self._write_used, faults)
            await self._do(self._look_at_observed, faults)
        self._is_serving = False
        await self._writer.close(not_serving(SERVICE), self._config.commit_timeout_s)
        self._feed.wake()
        await self._hasher.close()

    async def health(self, request: GetHealth, call: CallContext) -> ServiceHealth:
        """Return how the service is, with reasons; answers in every condition."""
        key_fault, master_fault = self._key_faults()
        return judge_health(
            Condition(
                is_serving=self._is_serving,
                is_fenced=self.is_fenced,
                store_fault=self._journal.fault,
                store_weakness=self._journal.weakness,
                commit_s=self._journal.commit_s,
                queued=len(self._writer),
                max_queue=self._config.max_queue,
                ticked_at_s=self._ticked_at_s,
                tick_s=self._config.tick_s,
                tick_fault=self._tick_fault,
                now_s=self._clock.now_s(),
                further=(failed_or_ok("signing_key", key_fault), failed_or_ok("master_key", master_fault)),
            ),
            service=SERVICE,
            epoch=self._journal.epoch,
            pid=os.getpid(),
            started_at_s=self._started_at_s,
        )

    def _key_faults(self) -> tuple[str, str]:
        try:
            self._ring.private_of(signing_key(self.records, self._clock.now_s()))
        except ServiceUnavailable as error:
            return error.message, ""
        except StoreError as error:
            return "", error.message
        return "", ""
