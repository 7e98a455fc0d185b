"""The least that a service is: it owns its part of the store and says how it is."""

import asyncio
import contextlib

from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import Check, CheckStatus, GetHealth, ServiceHealth
from zejzl_ray.errors import StaleEpoch, ZejzlError
from zejzl_ray.store.protocol import Put, Store

CHECK_PERIOD_S = 10.0  # each look is a durable write, four services strong


class BareService:
    """A service without operations of its own yet: it takes its epoch, checks its store and answers health.

    Args:
        store: the service's own namespace; the caller closes it after ``stop``.
        check_period_s: time between two looks at the store.
    """

    def __init__(self, store: Store, *, check_period_s: float = CHECK_PERIOD_S) -> None:
        self._store = store
        self._check_period_s = check_period_s
        self._check = Check(name="store", status=CheckStatus.FAILED, reason="not opened yet")
        self._epoch = 0
        self.is_fenced = False

    async def start(self) -> None:
        """Become the only writer of this namespace.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        self._epoch = await self._store.take_epoch()
        await self.check_store()

    async def run(self, stop_event: asyncio.Event) -> None:
        """Look at the store until ``stop_event`` is set or a newer writer has taken over."""
        while not stop_event.is_set() and not self.is_fenced:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._check_period_s):
                    await stop_event.wait()
            if not stop_event.is_set():
                await self.check_store()

    async def check_store(self) -> None:
        """Prove that this writer can still write; never raises for a store that is away."""
        try:
            await self._store.commit([Put("writer", b"alive")], epoch=self._epoch)
        except StaleEpoch as error:
            self.is_fenced = True
            self._check = Check(name="store", status=CheckStatus.FAILED, reason=error.message)
        except ZejzlError as error:
            self._check = Check(name="store", status=CheckStatus.FAILED, reason=error.message)
        else:
            self._check = Check(name="store", status=CheckStatus.OK)

    async def health(self, request: GetHealth, call: CallContext) -> ServiceHealth:
        """Return the last outcome of the check; the shell fills in who and where it is."""
        is_ready = self._check.status is CheckStatus.OK
        return ServiceHealth(service="", is_ready=is_ready, checks=(self._check,), epoch=self._epoch)

    async def stop(self) -> None:
        """Nothing is pending here; safe to repeat."""
