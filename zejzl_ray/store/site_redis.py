"""The namespaces of a Redis server: read from a copy of one moment, and replaced in one transaction.

Why a copy inside Redis: one ``MULTI`` with ``COPY`` of all keys of a namespace is one moment, and Redis is busy only
for as long as copying memory takes (4 ms for 1,000 records of 500 bytes, tried). A script that read everything would
keep it busy for longer, and reading page by page beside a writer has no moment at all. A dump of the whole server (RDB)
is one moment too, but holds what is not ours, needs rights over everything, and another Redis to read it.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from typing import Any, Final, Self, TypeVar

from redis.exceptions import RedisError, ResponseError, WatchError

from zejzl_ray.errors import NotFound, StoreError, StoreLocked, StoreUnavailable
from zejzl_ray.ids import NAME_REGEX, new_id
from zejzl_ray.store.image import (
    ImageCommitId,
    ImageEntry,
    ImageFigures,
    ImageHead,
    ImageLog,
    ImageLogEntry,
    Record,
    checked,
    epoch_after_restore,
)
from zejzl_ray.store.operations import check_namespace
from zejzl_ray.store.redis_connection import RedisTarget, connect_redis, say, split_options
from zejzl_ray.store.redis_layout import Layout, namespace_of_client, open_record, pack_header
from zejzl_ray.store.site import Images

T = TypeVar("T")

BATCH: Final = 500
CALL_TIMEOUT_S: Final = 60.0  # for one command; copying a namespace is one
_COPY_LIFE_S: Final = 6 * 3600  # a reader that was killed leaves its copy for so long at most
_TRIES: Final = 10
_META: Final = re.compile(rb"\{zejzl:([^{}]+)\}:meta")
_REMNANT: Final = re.compile(rb"\{zejzl:[^{}]+\}:restore:")
_REMEDY: Final = "Start Redis there, or correct ZEJZL_STORE_URL."


class RedisSite:
    """A ``StoreSite`` over every namespace of one Redis server; make one with ``open``.

    Reading a namespace needs as much free memory as it takes, until its copy was read. Replacing needs room for the
    images beside what is there; one ``MULTI`` then changes all namespaces at once, so a kill leaves all or nothing.
    """

    def __init__(self, target: RedisTarget, replicas: int = 0) -> None:
        # redis-py types a reply as whatever any protocol could answer; it is bytes here.
        self._redis: Any = target.client
        self._close = target.close
        self._replicas = replicas
        self.name = f"redis {target.address}"

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect; the URL as for ``RedisStore.open``.

        Raises:
            StoreUnavailable: nobody answers, or the password is refused.
            SettingsInvalid: the URL cannot be used.
        """
        target, options = split_options(url)
        replicas = options.get("replicas", "0")
        site = cls(connect_redis(target, CALL_TIMEOUT_S), int(replicas) if replicas.isdecimal() else 0)
        try:
            await site._do(site._redis.ping())
        except BaseException:
            await site.close()
            raise
        return site

    async def namespaces(self) -> list[str]:
        """Return the namespaces, as ``StoreSite.namespaces``."""
        keys = await self._do(self._keys("{zejzl:*}:meta"))
        names = (match.group(1).decode() for key in keys if (match := _META.fullmatch(key)))
        return sorted(name for name in names if NAME_REGEX.match(name))

    async def export(self, namespace: str) -> AsyncIterator[Sequence[Record]]:
        """Yield the records, as ``StoreSite.export``."""
        layout = Layout(check_namespace(namespace))
        copy = layout.beside(f"export:{new_id('copy')}")
        logs = await self._do(self._copy(layout, copy))
        try:
            meta = await self._do(self._redis.hmget(copy.meta, ["epoch", "commits"]))
            yield [ImageHead(namespace, int(meta[0] or 0), int(meta[1] or 0))]
            ids = await self._do(self._redis.zrange(copy.commit_ids, 0, -1, withscores=True))
            yield [ImageCommitId(name.decode(), int(number)) for name, number in ids]
            at = 0
            while keys := await self._do(self._redis.zrange(copy.index, at, at + BATCH - 1)):
                stored = await self._do(self._redis.hmget(copy.values, keys))
                yield [_entry(key, value) for key, value in zip(keys, stored, strict=True)]
                at += len(keys)
            for log in sorted(logs):
                yield [ImageLog(log.decode(), logs[log])]
                after = 0
                while page := await self._do(
                    self._redis.xrange(copy.stream(log), min=f"{after + 1}-0", count=BATCH)
                ):
                    entries = [
                        ImageLogEntry(int(name.partition(b"-")[0]), fields[b"v"]) for name, fields in page
                    ]
                    yield entries
                    after = entries[-1].index
        finally:
            await self._do(self._redis.unlink(*_all_keys(copy, logs)))

    async def users(self) -> list[str] | None:
        """Return the open connections of stores, as Redis lists them; None where this user may not ask for them."""
        try:
            clients = await self._do(self._redis.client_list())
        except StoreError:
            return None
        database = str(self._redis.connection_pool.connection_kwargs.get("db") or 0)
        found = {
            f"{self.name}: {namespace} is open from {client['addr'].rpartition(':')[0]}"
            for client in clients
            if client.get("db") == database and (namespace := namespace_of_client(client.get("name", "")))
        }
        return sorted(found)

    async def interrupted(self) -> str:
        """Return nothing: all is changed in one transaction."""
        return ""

    async def replace(self, images: Images, *, source: str, now_s: float) -> list[str]:
        """Replace all namespaces, as ``StoreSite.replace``."""
        if users := await self.users():
            raise StoreLocked(f"{users[0]}.", "Stop the services, then repeat.")
        await self._do(self._forget_remnants())
        staged: dict[str, tuple[Layout, ImageHead, dict[bytes, int], set[str | bytes]]] = {}
        try:
            for namespace, records in images:
                staged[namespace] = await self._do(self._stage(check_namespace(namespace), records))
            return await self._do(self._switch(staged, source, now_s))
        except BaseException:
            # Shielded by nothing: what stays here when even this fails is removed by the next restore.
            await self._do(self._forget_remnants())
            raise

    async def close(self) -> None:
        """Close the connections; safe to repeat."""
        await self._close()

    async def _keys(self, pattern: str) -> list[bytes]:
        return [key async for key in self._redis.scan_iter(match=pattern, count=1000)]

    async def _copy(self, layout: Layout, copy: Layout) -> dict[bytes, int]:
        """Copy all keys of a namespace in one moment; return its logs with their last indexes."""
        known: list[bytes] = list(await self._redis.hkeys(layout.logs))
        for _ in range(_TRIES):
            pairs = list(zip(_all_keys(layout, known), _all_keys(copy, known), strict=True))
            async with self._redis.pipeline(transaction=True) as pipe:
                for source, target in pairs:
                    pipe.execute_command("COPY", source, target)
                    pipe.expire(target, _COPY_LIFE_S)
                pipe.hgetall(layout.logs)
                pipe.exists(layout.meta)
                *_, logs, has_meta = await pipe.execute()
            if has_meta and set(logs) == set(known):
                return {log: int(last) for log, last in logs.items()}
            await self._redis.unlink(*(target for _, target in pairs))
            if not has_meta:
                raise NotFound(f"{self.name} has no namespace {layout.namespace}.")
            known = list(logs)  # a log has begun since they were listed
        raise StoreUnavailable(f"{self.name}: {layout.namespace} begins new logs all the time.", "Repeat it.")

    async def _stage(
        self, namespace: str, records: Iterator[Record]
    ) -> tuple[Layout, ImageHead, dict[bytes, int], set[str | bytes]]:
        """Write an image beside its namespace; return where, its head, its logs and which keys it has."""
        layout = Layout(namespace).beside("restore")
        head = ImageHead(namespace, 0, 0)
        logs: dict[bytes, int] = {}
        made: set[str | bytes] = set()
        stream = b""
        batches = _batched(checked(records, ImageFigures()))
        while batch := await asyncio.to_thread(next, batches, None):
            async with self._redis.pipeline(transaction=False) as pipe:
                for record in batch:
                    match record:
                        case ImageHead():
                            head = record
                        case ImageCommitId(commit_id=commit_id, number=number):
                            pipe.zadd(layout.commit_ids, {commit_id: number})
                            made.add(layout.commit_ids)
                        case ImageEntry():
                            _put(pipe, layout, record)
                            made |= {layout.values, layout.index}
                            if record.expires_at_s:
                                made.add(layout.expiry)
                        case ImageLog(log=log, last_index=last_index):
                            logs[log.encode()] = last_index
                            pipe.hset(layout.logs, log, last_index)
                            made.add(layout.logs)
                            stream = layout.stream(log.encode())
                        case ImageLogEntry(index=index, value=value):
                            pipe.xadd(stream, {"v": value}, id=f"{index}-0")
                            made.add(stream)
                await pipe.execute()
        return layout, head, logs, made

    async def _switch(
        self,
        staged: dict[str, tuple[Layout, ImageHead, dict[bytes, int], set[str | bytes]]],
        source: str,
        now_s: float,
    ) -> list[str]:
        """Put all staged namespaces in place at once."""
        for _ in range(_TRIES):
            names = sorted({*await self.namespaces(), *staged})
            async with self._redis.pipeline(transaction=True) as pipe:
                # Every commit and every new epoch writes :meta, so nothing comes in between unseen.
                await pipe.watch(*(Layout(name).meta for name in names))
                epochs = {name: int(await pipe.hget(Layout(name).meta, "epoch") or 0) for name in names}
                logs = {name: list(await pipe.hkeys(Layout(name).logs)) for name in names}
                pipe.multi()
                for name in names:
                    layout = Layout(name)
                    pipe.unlink(*_all_keys(layout, logs[name]))
                    head = ImageHead(name, 0, 0)
                    if name in staged:
                        beside, head, image_logs, made = staged[name]
                        targets = zip(
                            _all_keys(beside, image_logs), _all_keys(layout, image_logs), strict=True
                        )
                        for from_, to in targets:
                            if from_ in made:
                                pipe.rename(from_, to)
                    epoch = epoch_after_restore(max(head.epoch, epochs[name]), now_s)
                    fields = {"epoch": epoch, "commits": head.commits, "owner": f"restore from {source}"}
                    pipe.hset(layout.meta, mapping=fields)
                try:
                    await pipe.execute()
                except WatchError:
                    continue
            if self._replicas and int(await self._redis.wait(self._replicas, 10_000)) < self._replicas:
                raise StoreUnavailable(
                    f"{self.name}: restored, but fewer than {self._replicas} replicas have it within 10 s.",
                    "Look at the replicas before services are started.",
                )
            return names
        raise StoreUnavailable(f"{self.name}: somebody goes on writing.", "Stop the services, then repeat.")

    async def _forget_remnants(self) -> None:
        """Remove what a restore that was killed left beside the namespaces."""
        # Looked at twice: the name of a log may hold what the pattern asks for.
        keys = [key for key in await self._keys("{zejzl:*}:restore:*") if _REMNANT.match(key)]
        for at in range(0, len(keys), BATCH):
            await self._redis.unlink(*keys[at : at + BATCH])

    async def _do(self, work: Awaitable[T]) -> T:
        """Wait for an answer; errors of Redis become the project's."""
        try:
            return await work
        except ResponseError as error:
            raise StoreError(
                f"{self.name}: {say(error)}.", "Look at the server's log and its users."
            ) from error
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"{self.name}: {say(error)}.", _REMEDY) from error


def _all_keys(layout: Layout, logs: Iterable[bytes]) -> list[str | bytes]:
    return [
        layout.meta,
        layout.values,
        layout.index,
        layout.expiry,
        layout.commit_ids,
        layout.logs,
        *(layout.stream(log) for log in logs),
    ]


def _entry(key: bytes, stored: bytes) -> ImageEntry:
    version, expires_at_s, value = open_record(stored)
    return ImageEntry(key.decode(), version, expires_at_s, value)


def _put(pipe: Any, layout: Layout, entry: ImageEntry) -> None:
    expiry = entry.expires_at_s or 0.0
    pipe.hset(layout.values, entry.key, pack_header(entry.version, expiry) + entry.value)
    pipe.zadd(layout.index, {entry.key: 0})
    if expiry:
        pipe.zadd(layout.expiry, {entry.key: expiry})


def _batched(records: Iterator[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size_bytes = 0
    for record in records:
        batch.append(record)
        size_bytes += len(getattr(record, "value", b""))
        if len(batch) >= BATCH or size_bytes >= 4 * 1024 * 1024:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch
