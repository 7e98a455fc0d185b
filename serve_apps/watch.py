"""Watching the registry: as a long poll with JSON, or as a stream of server-sent events.

Both follow the replica's own copy; only changes that are older than the replica keeps are asked for in
core_orchestrator. A stream ends when the client goes, when its token counts no more, when the replica stops, and
when it cannot go on without a gap.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from starlette.types import Receive, Scope, Send

from serve_apps.answer import NO_STORE, send_json
from serve_apps.config import IngressConfig
from serve_apps.endpoint import REVISION_HEADER
from serve_apps.event_ring import RingEntry
from serve_apps.middleware.errors import problem_for
from serve_apps.middleware.request_scope import RequestScope, request_scope_of
from serve_apps.registry_replica import RegistryReplica
from serve_apps.request_parsing import build_request, parse_query
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import MAX_PAGE, WatchAgents, WatchBatch
from zejzl_ray.errors import InvalidInput, Overloaded, RevisionCompacted, ZejzlError

# Raises when the token of a request counts no more.
StillCounts = Callable[[RequestScope], Awaitable[None]]
_EVENT_STREAM: Final = b"text/event-stream"


class Watchers:
    """Counts open watches and refuses more than the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.count = 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Hold a place for one watch.

        Raises:
            Overloaded: there is none left.
        """
        if self.count >= self._limit:
            raise Overloaded(
                f"This replica already has {self._limit} watchers.",
                "Close streams that nobody reads, or try again.",
            )
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


class WatchEndpoint:
    """Changes after a revision, as JSON, or as server-sent events for ``Accept: text/event-stream``.

    In a stream the id of an event is its revision, so ``Last-Event-ID`` resumes without gap or repetition.
    """

    def __init__(
        self,
        operation: Operation,
        caller: Caller,
        replica: RegistryReplica,
        *,
        clock: Clock,
        config: IngressConfig,
        watchers: Watchers,
        still_counts: StillCounts,
    ) -> None:
        self._operation = operation
        self._caller = caller
        self._replica = replica
        self._clock = clock
        self._config = config
        self._watchers = watchers
        self._still_counts = still_counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = request_scope_of(scope)
        query = parse_query(scope)
        is_stream = _EVENT_STREAM in request.headers.get(b"accept", b"")
        last_id = request.headers.get(b"last-event-id")
        if is_stream and last_id:
            if not last_id.isdigit():
                raise InvalidInput(
                    "header.Last-Event-ID: not a revision.", "Send the id of the last event as it was."
                )
            query["from_revision"] = last_id.decode("ascii")
        watch = build_request(self._operation, {}, query, {}, request.request_id)
        assert isinstance(watch, WatchAgents)
        with self._watchers.one():
            if is_stream:
                await self._stream(watch, request, receive, send)
            else:
                await self._poll(watch, request, send)

    async def _poll(self, watch: WatchAgents, request: RequestScope, send: Send) -> None:
        ends_at_s = self._clock.monotonic_s() + watch.timeout_s
        self._replica.copy()  # refuses a stale one before anybody waits
        while True:
            entries = await self._entries(watch.from_revision, watch.limit, request)
            left_s = ends_at_s - self._clock.monotonic_s()
            if entries or left_s <= 0 or self._replica.is_stopped:
                break
            await self._replica.wait_for_change(left_s)
        revision = max(watch.from_revision, self._replica.revision)
        if len(entries) >= watch.limit:
            revision = entries[-1].event.revision
        elif not entries and watch.from_revision > self._replica.revision:
            raise self._ahead(watch.from_revision)
        body = b'{"events":[%b],"revision":%d}' % (b",".join(entry.body for entry in entries), revision)
        await self._still_counts(request)  # a revocation may have come while it waited
        await send_json(send, 200, body, ((REVISION_HEADER, b"%d" % self._replica.revision),))

    async def _stream(self, watch: WatchAgents, request: RequestScope, receive: Receive, send: Send) -> None:
        self._replica.copy()
        revision = watch.from_revision
        entries = await self._entries(revision, MAX_PAGE, request)  # errors are still problem documents here
        if revision > self._replica.revision:
            raise self._ahead(revision)
        headers = [(b"content-type", _EVENT_STREAM), NO_STORE, (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await _send_chunk(send, b": watching after revision %d\n\n" % revision)
        gone = asyncio.create_task(_until_disconnect(receive))
        try:
            while not gone.done() and not self._replica.is_stopped:
                if entries:
                    await _send_chunk(send, b"".join(_sse(entry) for entry in entries))
                    revision = entries[-1].event.revision
                else:
                    await self._wait(gone)
                    if gone.done():
                        break
                try:
                    # Before anything more is told: the token may have expired, or been revoked.
                    await self._still_counts(request)
                    # the ring first, or history after a slow client fell behind
                    entries = await self._entries(revision, MAX_PAGE, request)
                except ZejzlError as error:
                    problem, _ = problem_for(error, request.request_id)
                    await _send_chunk(
                        send, b"event: problem\ndata: %b\n\n" % problem.model_dump_json().encode()
                    )
                    break
                if not entries and self._replica.revision == revision:
                    await _send_chunk(send, b": keep-alive\n\n")
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _wait(self, gone: asyncio.Task[None]) -> None:
        change = asyncio.create_task(self._replica.wait_for_change(self._config.stream_keep_alive_s))
        try:
            await asyncio.wait((gone, change), return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()

    async def _entries(self, revision: int, limit: int, request: RequestScope) -> Sequence[RingEntry]:
        kept = self._replica.events_after(revision, limit)
        if kept is not None:
            return kept
        context = await request.forward_context(
            self._clock, self._config.default_timeout_s, self._config.max_timeout_s
        )
        watch = WatchAgents(from_revision=revision, timeout_s=0, limit=limit)
        batch = await self._caller.call(self._operation, watch, context)
        assert isinstance(batch, WatchBatch)
        return [RingEntry(event) for event in batch.events]

    def _ahead(self, revision: int) -> RevisionCompacted:
        return RevisionCompacted(
            f"query.from_revision: {revision} is after the registry's revision {self._replica.revision}.",
            "List the agents again and watch from the revision of that answer.",
        )


def _sse(entry: RingEntry) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (entry.event.revision, entry.event.kind.encode(), entry.body)


async def _send_chunk(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
