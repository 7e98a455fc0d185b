"""How a host of agents watches itself: loops that are blocked, calls made again, its figures in Ray's metrics."""

import asyncio
from collections.abc import Callable
from typing import Final

from zejzl_ray.agents.host import AgentSet
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.clock import Clock
from zejzl_ray.cluster.host_news import tell_subscribers
from zejzl_ray.cluster.ray_metrics import RayMetricsExport
from zejzl_ray.log import get_logger
from zejzl_ray.metrics.loop_watchdog import BlockedLoop, LoopWatchdog
from zejzl_ray.metrics.readings import ProcessReadings
from zejzl_ray.resilience.retry_events import add_retry_hook, count_retries

LOOP_TOPIC: Final = "zejzl.loops"
LOOP_EVENT: Final = "loop_blocked"
_KEPT_NEWS: Final = 100
_log = get_logger("agent_host")


class HostWatch:
    """Watches the process of a host from ``start`` to ``stop``, which are called on its loop.

    A handler that does not let the loop go on is logged with its stack while it does so. Once the loop goes on it is
    counted, and told to the subscribers of the topic ``zejzl.loops`` as message ``loop_blocked`` with ``host``,
    ``blocked_s`` and ``stack``: whoever blocks the loop blocks the mail too.

    Args:
        office: the host's bus.
        agents: its agents.
        clock: monotonic time.
        limit_s: from this time on a handler blocks the loop.
        export: hands the figures to Ray until it is cancelled; None: nobody looks at them there.
    """

    def __init__(
        self,
        office: PostOffice,
        agents: AgentSet,
        clock: Clock,
        *,
        limit_s: float = 1.0,
        export: RayMetricsExport | None = None,
    ) -> None:
        self._office = office
        self._agents = agents
        self._clock = clock
        self._limit_s = limit_s
        self._export = export
        self._watchdog: LoopWatchdog | None = None
        self._end_counting: Callable[[], None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to watch; safe to repeat."""
        if self._watchdog is not None:
            return
        loop = asyncio.get_running_loop()
        self._watchdog = LoopWatchdog(
            loop, limit_s=self._limit_s, clock=self._clock, on_blocked=lambda news: self._noticed(loop, news)
        )
        self._watchdog.start()
        # A try may fail in any thread; the figures belong to the loop.
        self._end_counting = add_retry_hook(
            count_retries(lambda op: _on(loop, lambda: self._office.figures.events.add("retries_total", op)))
        )
        if self._export is not None:
            self._keep(loop.create_task(self._export.run(), name="ray-metrics"))

    async def stop(self) -> None:
        """Watch no more; safe to repeat."""
        if self._end_counting is not None:
            self._end_counting()
            self._end_counting = None
        if self._watchdog is not None:
            self._watchdog.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2)

    def _noticed(self, loop: asyncio.AbstractEventLoop, news: BlockedLoop) -> None:
        """Take news in the watchdog's thread: the loop itself can do nothing now."""
        if not news.is_over:
            _log.error("event loop is blocked", blocked_s=round(news.blocked_s, 3), stack=news.stack)
            return
        _log.warning("event loop goes on", blocked_s=round(news.blocked_s, 3))
        _on(loop, lambda: self._tell(news))

    def _tell(self, news: BlockedLoop) -> None:
        self._office.figures.events.add("loop_blocks_total")
        if len(self._tasks) < _KEPT_NEWS:
            self._keep(asyncio.get_running_loop().create_task(self._publish(news), name="loop-news"))

    async def _publish(self, news: BlockedLoop) -> None:
        content = {"host": self._office.host, "blocked_s": news.blocked_s, "stack": news.stack}
        await tell_subscribers(self._office, LOOP_TOPIC, LOOP_EVENT, content)

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def readings_of(office: PostOffice, agents: AgentSet) -> ProcessReadings:
    """Return what a host can say now beside the figures of its mail."""
    boxes = ((agent, office.find(agent)) for agent in office.agents())
    return ProcessReadings(
        queue_depths={agent: len(box) for agent, box in boxes if box is not None},
        pending_requests=len(office.pending),
        agent_states={name: state.value for name, state in agents.states().items()},
        heartbeat_ages_s=agents.heartbeat_ages_s(),
    )


def _on(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    """Have the loop do something; one that is closed does not do it."""
    try:
        loop.call_soon_threadsafe(work)
    except RuntimeError:
        _log.debug("the loop is closed")
