"""The life of one service in its process: open the store, start, run, serve health, stop."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from zejzl_ray.clock import Clock
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import Check, CheckStatus, GetHealth, ServiceHealth
from zejzl_ray.errors import ServiceUnavailable, ZejzlError
from zejzl_ray.log import get_logger
from zejzl_ray.shell.health_server import HealthServer
from zejzl_ray.shell.presence import Presence
from zejzl_ray.store.protocol import Store
from zejzl_ray.version import __version__

_log = get_logger("shell")
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0
_STOP_TIMEOUT_S = 20.0
_CANCEL_TIMEOUT_S = 2.0
_HEALTH_TIMEOUT_S = 5.0
# Shorter than any caller's own limit, or nobody would ever hear why: who may repeat the call does so anyway.
_READY_WAIT_S = 2.0


class Service(Protocol):
    """What a service gives its shell."""

    @property
    def is_fenced(self) -> bool:
        """Whether a newer instance has taken over."""
        ...

    async def start(self) -> None:
        """Take the epoch and load the state; afterwards the service can work."""
        ...

    async def run(self, stop_event: asyncio.Event) -> None:
        """Do what is due until ``stop_event`` is set or the service is fenced."""
        ...

    async def health(self, request: GetHealth, call: CallContext) -> ServiceHealth:
        """Return the outcome of every check."""
        ...

    async def stop(self) -> None:
        """Write what is pending; safe to repeat."""
        ...


S = TypeVar("S", bound=Service)


@dataclass(frozen=True, slots=True)
class Identity:
    """Where a service process is."""

    service: str
    machine: str
    node_id: str


class ServiceShell(Generic[S]):
    """Runs one service.

    The store is opened and the service started in the background, with backoff while the store is away; until
    then calls wait up to ``ready_wait_s`` and then raise ``ServiceUnavailable`` with the reason. A service that is
    fenced has been replaced, and one whose loop has ended or failed cannot be trusted: ``on_fatal`` is called, so that
    the process ends.

    Args:
        identity: name and place, for health answers.
        open_store: opens the service's namespace of the store; the shell closes it.
        build: makes the service from its store.
        clock: source of time.
        on_fatal: called with the reason when the process must end.
        health_server: serves health over HTTP; None where somebody else does, as the ingress for
            core_orchestrator.
        presence: keeps the service's entry in the registry alive; None leaves it out.
        more_checks: what else readiness depends on, such as the news of the security gateway.
        ready_wait_s: how long a call waits for a service that is starting.
        stop_timeout_s: how long ``stop`` waits for an orderly end before it cancels.
        first_wait_s: pause after the first failed start; it doubles up to 5 s.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        open_store: Callable[[], Awaitable[Store]],
        build: Callable[[Store], S],
        clock: Clock,
        on_fatal: Callable[[str], None],
        health_server: HealthServer | None = None,
        presence: Presence | None = None,
        more_checks: Callable[[], tuple[Check, ...]] = tuple,
        ready_wait_s: float = _READY_WAIT_S,
        stop_timeout_s: float = _STOP_TIMEOUT_S,
        first_wait_s: float = _FIRST_WAIT_S,
    ) -> None:
        self._identity = identity
        self._open_store = open_store
        self._build = build
        self._on_fatal = on_fatal
        self._health_server = health_server
        self._presence = presence
        self._more_checks = more_checks
        self._ready_wait_s = ready_wait_s
        self._stop_timeout_s = stop_timeout_s
        self._first_wait_s = first_wait_s
        self._started_at_s = clock.now_s()
        self._service: S | None = None
        self._settled = asyncio.Event()  # the service is ready, or never will be
        self._stopping = asyncio.Event()
        self._reason = "starting"
        self._task: asyncio.Task[None] | None = None

    def launch(self) -> None:
        """Begin to start in the background; needs a running event loop. Safe to repeat."""
        if self._task is not None or self._stopping.is_set():
            return
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name=f"shell:{self._identity.service}"
        )

    async def service(self) -> S:
        """Return the service once it can work.

        Raises:
            ServiceUnavailable: not ready within ``ready_wait_s``, or stopping; says why.
        """
        if self._service is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._ready_wait_s):
                    await self._settled.wait()
        service = self._service
        if service is None:
            raise ServiceUnavailable(f"{self._identity.service} is not ready: {self._reason.rstrip('.')}.")
        return service

    async def health(self) -> ServiceHealth:
        """Return how the service is, with the reason of everything that is not well."""
        service = self._service
        epoch = 0
        if service is None:
            checks: tuple[Check, ...] = (
                Check(name="started", status=CheckStatus.FAILED, reason=self._reason),
            )
        else:
            checks, epoch = await _ask(service)
        checks = (*checks, *self._more_checks())
        if self._health_server is not None:
            checks = (*checks, self._health_server.check())
        return ServiceHealth(
            service=self._identity.service,
            is_ready=all(check.status is not CheckStatus.FAILED for check in checks),
            checks=checks,
            machine=self._identity.machine,
            node_id=self._identity.node_id,
            pid=os.getpid(),
            started_at_s=self._started_at_s,
            epoch=epoch,
            version=__version__,
        )

    async def stop(self) -> None:
        """Stop serving, write what is pending, close the store; safe to repeat.

        What has not ended after ``stop_timeout_s`` is cancelled; what was not committed by then is lost.
        """
        if not self._stopping.is_set():
            self._stopping.set()
            self._reason = "stopping"
        if self._service is None:
            self._settled.set()  # who waits for the start need not wait any longer
        if self._task is not None:
            await _end(self._task, self._stop_timeout_s)
        if self._health_server is not None:
            await self._health_server.stop()

    async def _run(self) -> None:
        try:
            await self._start_health_server()
            started = await self._start_with_backoff()
            if started is not None:
                await self._serve(*started)
        finally:
            self._settled.set()

    async def _start_health_server(self) -> None:
        if self._health_server is None:
            return
        try:
            await self._health_server.start(self.health)
        except Exception:  # the service is worth more than its health port
            _log.exception("the health port is not served")

    async def _serve(self, service: S, store: Store) -> None:
        self._service = service
        self._settled.set()
        _log.info("service ready")
        failure = "its loop ended"
        # Last in, first out; each step is taken even when the one before it fails or is cancelled.
        async with contextlib.AsyncExitStack() as end:
            end.push_async_callback(_finish, "store", store.close)
            end.push_async_callback(_finish, "service", service.stop)
            if self._presence is not None:
                over = asyncio.Event()
                reporting = asyncio.create_task(self._presence.run(self.health, over), name="presence")
                end.push_async_callback(_end, reporting, self._stop_timeout_s / 4)
                end.callback(over.set)
            try:
                await service.run(self._stopping)
                if service.is_fenced:
                    failure = "a newer instance has taken over"
            except Exception as error:
                failure = f"its loop failed: {type(error).__name__}"
                _log.exception("the service's loop failed")
            finally:
                self._service = None
                self._reason = "stopping" if self._stopping.is_set() else failure
        if not self._stopping.is_set():
            self._on_fatal(failure)

    async def _start_with_backoff(self) -> tuple[S, Store] | None:
        wait_s = self._first_wait_s
        while not self._stopping.is_set():
            try:
                return await self._start_once()
            except ZejzlError as error:
                self._say(str(error))
                _log.warning("start failed, trying again", error=str(error), wait_s=wait_s)
            except Exception as error:
                self._say(f"internal error ({type(error).__name__})")
                _log.exception("start failed, trying again")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._stopping.wait()
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        return None

    async def _start_once(self) -> tuple[S, Store]:
        store = await self._open_store()
        try:
            service = self._build(store)
            await service.start()
        except BaseException:
            await _finish("store", store.close)
            raise
        return service, store

    def _say(self, reason: str) -> None:
        if not self._stopping.is_set():
            self._reason = reason


async def _ask(service: Service) -> tuple[tuple[Check, ...], int]:
    """Return the service's own checks and its epoch; one that cannot say how it is has failed."""
    try:
        async with asyncio.timeout(_HEALTH_TIMEOUT_S):
            own = await service.health(GetHealth(), CallContext())
    except TimeoutError:
        reason = f"no answer within {_HEALTH_TIMEOUT_S:g} s"
    except Exception as error:
        _log.exception("the service cannot say how it is")
        reason = f"internal error ({type(error).__name__})"
    else:
        return own.checks, own.epoch
    return (Check(name="health", status=CheckStatus.FAILED, reason=reason),), 0


async def _finish(what: str, end: Callable[[], Awaitable[None]]) -> None:
    """Run one step of the end; a step that fails does not keep the next one from running."""
    try:
        await end()
    except ZejzlError as error:
        _log.warning("not ended in order", what=what, error=str(error))
    except Exception:
        _log.exception("not ended in order", what=what)


async def _end(task: "asyncio.Task[None]", timeout_s: float) -> None:
    """Wait for the task, then cancel it."""
    await asyncio.wait({task}, timeout=timeout_s)
    if not task.done():
        _log.warning("cancelled, because it did not end in time", task=task.get_name())
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_TIMEOUT_S)
