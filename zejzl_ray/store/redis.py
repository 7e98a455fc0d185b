"""The store that several machines share: Redis, alone, behind Sentinel or over TLS."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha1
from itertools import takewhile
from typing import Any, Self, TypeVar

from redis.asyncio.retry import Retry
from redis.backoff import EqualJitterBackoff
from redis.exceptions import BusyLoadingError, NoScriptError, RedisError, ResponseError

from zejzl_ray.clock import Clock
from zejzl_ray.errors import SettingsInvalid, StaleEpoch, StoreError, StoreUnavailable, ZejzlError
from zejzl_ray.ids import new_id
from zejzl_ray.store.durability import Durability
from zejzl_ray.store.grouping import GroupCommitter, Outcome, Waiting, closed
from zejzl_ray.store.operations import (
    Prepared,
    check_namespace,
    check_page,
    encode_key,
    encode_prefix,
    prepare,
    version_conflict,
)
from zejzl_ray.store.protocol import LogEntry, Op, Versioned
from zejzl_ray.store.redis_bulk import BULK_KEYS, is_bulk, transact
from zejzl_ray.store.redis_connection import (
    RETRIED,
    ConnectRedis,
    RedisTarget,
    connect_redis,
    is_passing,
    name_connections,
    say,
)
from zejzl_ray.store.redis_copies import Copies, Lonely
from zejzl_ray.store.redis_durability import describe_durability
from zejzl_ray.store.redis_layout import Argument, Layout, attempt_position, client_name, unpack
from zejzl_ray.store.redis_scripts import COMMIT, SCAN, TAKE_EPOCH
from zejzl_ray.store.redis_witness import Address, Witness, connect_witness

T = TypeVar("T")

DEFAULT_TIMEOUT_S = 5.0
MIN_SERVER = (6, 2)  # XTRIM MINID
_COMMIT_SHA = sha1(COMMIT.encode(), usedforsecurity=False).hexdigest()
_SCAN_SHA = sha1(SCAN.encode(), usedforsecurity=False).hexdigest()
_REMEDY = "Start Redis there or correct the store's address."


class RedisStore:
    """A ``Store`` under one hash tag of a Redis server; make one with ``open``.

    When ``commit`` returns, Redis has applied the operations and written them as its ``appendfsync`` says:
    with ``always`` they are synced, with ``everysec`` up to a second of them can be lost with the machine's
    power (not with the Redis process). ``replicas`` asks for that many replicas to have them too. Commits
    that wait while a round trip is on its way go together in the next one. A lost answer is repeated under
    the same commit id, so it is applied once.
    """

    def __init__(
        self,
        target: RedisTarget,
        namespace: str,
        *,
        clock: Clock,
        owner: str = "",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        replicas: int = 0,
        when_away: Lonely = Lonely.REFUSE,
        witness: Witness | None = None,
        bulk_keys: int = BULK_KEYS,
    ) -> None:
        name_connections(target, client_name(check_namespace(namespace)))
        self._redis = target.client
        self._close_connection = target.close
        self._address = target.address
        self._name = f"{namespace} at redis {target.address}"
        self._layout = Layout(namespace)
        self._clock = clock
        self._owner = owner
        self._timeout_s = timeout_s
        self._copies = Copies(replicas, when_away, clock, self._name, witness)
        self._bulk_keys = bulk_keys
        # Both go with each commit: one held up on a dead connection must not overtake what came after it.
        self._sender = new_id("sender")
        self._attempts = 0
        self._committer = GroupCommitter(self._name, self._send, timeout_s=timeout_s)
        self._dropping: asyncio.Task[None] | None = None
        self._is_closed = False

    @classmethod
    async def open(
        cls,
        url: str,
        namespace: str,
        *,
        clock: Clock,
        owner: str = "",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        replicas: int = 0,
        when_away: Lonely = Lonely.REFUSE,
        sentinels: Sequence[Address] = (),
        bulk_keys: int = BULK_KEYS,
        connect: ConnectRedis = connect_redis,
    ) -> Self:
        """Connect, and refuse at once when nobody answers.

        A server that still loads its data is waited for. Once open, later outages are ridden out for
        ``timeout_s``.

        Args:
            url: ``redis://``, ``rediss://`` or ``redis+sentinel://``.
            namespace: names the key prefix.
            clock: what expiry is measured by.
            owner: who this process is; a writer that it replaces reads it in its ``StaleEpoch``.
            timeout_s: the longest wait of each call, retries and queueing included.
            replicas: how many replicas must have received a commit before it is acknowledged.
            when_away: what to do with a commit that fewer have.
            sentinels: all Sentinels of the cluster, for ``Lonely.WITNESS``.
            bulk_keys: commits that write this many keys and more go as a transaction, smaller ones as a script;
                the outcome is the same.
            connect: makes the client; for clients with another kind of credentials or connection.

        Raises:
            StoreUnavailable: nobody answers at the address, or it refuses the credentials.
            StoreError: the server is older than 6.2.
            SettingsInvalid: the URL or the namespace cannot be used.
        """
        check_namespace(namespace)
        store = cls(
            connect(url, timeout_s),
            namespace,
            clock=clock,
            owner=owner,
            timeout_s=timeout_s,
            replicas=replicas,
            when_away=when_away,
            witness=connect_witness(url, sentinels) if when_away is Lonely.WITNESS else None,
            bulk_keys=bulk_keys,
        )
        try:
            await store._call(store._greet, may_retry=lambda error: isinstance(error, BusyLoadingError))
        except TypeError:
            await store.close()
            raise SettingsInvalid("the Redis address has an unknown option after '?'.") from None
        except BaseException:
            await store.close()
            raise
        return store

    async def take_epoch(self) -> int:
        """Become the writer, as ``Store.take_epoch``. Repeated after a lost answer it may skip a number."""

        async def take() -> int:
            # WAIT counts what its own connection has written, so it goes with the rest.
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.eval(TAKE_EPOCH, 1, self._layout.meta, self._owner)
                if (replicas := self._copies.replicas) > 0:
                    pipe.wait(replicas, self._wait_ms())
                replies: list[Any] = await pipe.execute()
            if replicas:
                await self._copies.check(replies[1])
            return int(replies[0])

        return await self._call(take)

    async def get(self, key: str) -> Versioned | None:
        """Return the value, as ``Store.get``."""
        encoded, now_s = encode_key(key), self._clock.now_s()

        async def fetch() -> bytes | None:
            reply: Any = await self._redis.hget(self._layout.values, encoded)
            return None if reply is None else bytes(reply)

        stored = await self._call(fetch)
        return None if stored is None else unpack(stored, now_s)

    async def scan(
        self, prefix: str, *, after: str = "", limit: int = 1000
    ) -> Sequence[tuple[str, Versioned]]:
        """Return a page of keys, as ``Store.scan``; one page is one moment."""
        check_page(0, limit)
        start, after_key, now_s = encode_prefix(prefix), encode_prefix(after), self._clock.now_s()
        lower = b"(" + after_key if after_key >= start and after_key else b"[" + start
        arguments = (
            2,
            self._layout.values,
            self._layout.index,
            lower,
            b"(" + start + b"\xff",
            repr(now_s),
            limit,
        )

        async def fetch() -> list[bytes]:
            try:
                reply: list[bytes] = await self._redis.evalsha(_SCAN_SHA, *arguments)
            except NoScriptError:
                reply = await self._redis.eval(SCAN, *arguments)
            return reply

        flat = await self._call(fetch)
        page: list[tuple[str, Versioned]] = []
        for key, stored in zip(flat[::2], flat[1::2], strict=True):
            # Expired ones were left out by the script, with the same now_s.
            if (value := unpack(stored, now_s)) is not None:
                page.append((key.decode(), value))
        return page

    async def read_log(self, log: str, *, after: int = 0, limit: int = 1000) -> Sequence[LogEntry]:
        """Return a page of a log, as ``Store.read_log``."""
        check_page(after, limit)
        stream = self._layout.stream(encode_key(log, "log"))

        async def fetch() -> list[tuple[bytes, dict[bytes, bytes]]]:
            reply: Any = await self._redis.xrange(stream, min=f"{after + 1}-0", count=limit)
            return list(reply)

        return [
            LogEntry(int(entry_id.partition(b"-")[0]), fields[b"v"])
            for entry_id, fields in await self._call(fetch)
        ]

    async def commit(
        self, ops: Sequence[Op], *, epoch: int, expect: Mapping[str, int] | None = None, commit_id: str = ""
    ) -> None:
        """Apply all operations or none, as ``Store.commit``."""
        if self._is_closed:
            raise closed(self._name)
        # An id in any case: the answer may get lost, and the batch is then sent again.
        prepared = prepare(
            ops,
            epoch=epoch,
            expect=expect,
            commit_id=commit_id or new_id("commit"),
            now_s=self._clock.now_s(),
        )
        await self._committer.submit(prepared)

    async def close(self) -> None:
        """Finish the batch on its way and close the connections; safe to repeat."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._committer.close()
        await self._copies.close()
        await self._close_connection()

    @property
    def weakness(self) -> str:
        """Which replicas are away, while commits are acknowledged without them."""
        return " ".join(self._copies.describe()[1])

    async def describe_durability(self) -> Durability:
        """Return what the server's configuration promises, with a warning for each weak point."""
        return await self._call(lambda: describe_durability(self._redis, self._address, self._copies))

    async def _greet(self) -> None:
        """Check the server's version; a server that forbids INFO is taken as it is."""
        await self._redis.ping()
        try:
            version = str((await self._redis.info("server"))["redis_version"])
        except (ResponseError, KeyError):
            return
        if tuple(int(part) for part in version.split(".")[:2]) < MIN_SERVER:
            raise StoreError(f"{self._name}: the server is Redis {version}.", "Install Redis 6.2 or newer.")

    async def _send(self, batch: Sequence[Waiting]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = [None] * len(batch)
        # Positions in the batch that have no outcome yet.
        unsettled = list(range(len(batch)))

        async def attempt() -> None:
            nonlocal unsettled
            # Whoever gave up was told that the outcome is open; what was not sent yet then need not be.
            unsettled = [position for position in unsettled if not batch[position].future.done()]
            while unsettled:
                first = batch[unsettled[0]].prepared
                if is_bulk(first, self._bulk_keys):
                    outcomes[unsettled[0]] = self._outcome(await self._transact(first))
                    unsettled = unsettled[1:]
                    continue
                small = list(
                    takewhile(lambda at: not is_bulk(batch[at].prepared, self._bulk_keys), unsettled)
                )
                for position, reply in zip(
                    small, await self._run_scripts([batch[at].prepared for at in small]), strict=True
                ):
                    outcomes[position] = self._outcome(reply)
                unsettled = unsettled[len(small) :]

        await self._call(attempt)
        return outcomes

    async def _transact(self, prepared: Prepared) -> Any:
        """Send a large commit; return what the script would have answered."""
        self._attempts += 1
        reply, replicas = await transact(
            self._redis.connection_pool,
            self._layout,
            prepared,
            (self._sender, self._attempts),
            (self._copies.replicas, self._wait_ms()),
        )
        await self._copies.check(replicas)
        return reply

    async def _run_scripts(self, commits: Sequence[Prepared]) -> list[Any]:
        """Send commits in one round trip, and once more those that met a server without the script.

        Raises:
            RedisError: one that may pass by itself; the commits may be applied or not.
            StoreError: the server forgets its scripts.
        """
        commands = [self._layout.commit_arguments(prepared, self._sender) for prepared in commits]
        replies = await self._exchange(commands)
        missing = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if missing:
            await self._redis.script_load(COMMIT)
            again = await self._exchange([commands[at] for at in missing])
            for at, reply in zip(missing, again, strict=True):
                if isinstance(reply, NoScriptError):
                    raise StoreError(f"{self._name}: the server forgets its scripts.")
                replies[at] = reply
        for reply in replies:
            if isinstance(reply, Exception) and is_passing(reply):
                raise reply
        return replies

    async def _exchange(self, commands: list[list[Argument]]) -> list[Any]:
        """Send commits in one round trip; return a reply or an exception for each."""
        self._attempts += 1
        async with self._redis.pipeline(transaction=False) as pipe:
            for arguments in commands:
                arguments[attempt_position(arguments)] = self._attempts
                pipe.evalsha(_COMMIT_SHA, int(arguments[0]), *arguments[1:])
            if (replicas := self._copies.replicas) > 0:
                pipe.wait(replicas, self._wait_ms())
            replies: list[Any] = await pipe.execute(raise_on_error=False)
        if replicas:
            await self._copies.check(replies.pop())
        return replies

    def _wait_ms(self) -> int:
        return self._copies.wait_ms(max(1, int(self._timeout_s * 500)))

    def _outcome(self, reply: Any) -> Outcome:
        if isinstance(reply, Exception):
            return self._refused(reply)
        if reply[0] == b"OK":
            return None
        if reply[0] == b"EPOCH":
            owner = f", taken by {reply[2].decode()}" if reply[2] else ""
            return StaleEpoch(
                f"{self._name}: the epoch is over, {int(reply[1])} is current{owner}.", "Stop this writer."
            )
        if reply[0] == b"VERSION":
            return version_conflict(self._name, reply[1], int(reply[2]), int(reply[3]))
        return StoreUnavailable(
            f"{self._name}: a newer commit of this store overtook this one.", "Send it again."
        )

    def _refused(self, error: Exception) -> ZejzlError:
        """Return the project's error for an answer that trying again at once would not change."""
        if isinstance(error, ResponseError) and not any(
            word in say(error) for word in ("OOM", "MISCONF", "NOAUTH")
        ):
            return StoreError(f"{self._name}: {say(error)}.", "Look at the server's log and configuration.")
        return StoreUnavailable(f"{self._name}: {say(error)}.", _REMEDY)

    def _drop_idle_connections(self) -> None:
        """Let what comes next connect anew: an idle connection over a cut cable stays silent when the cable is back."""

        async def drop() -> None:
            with contextlib.suppress(RedisError, OSError):
                await self._redis.connection_pool.disconnect(inuse_connections=False)
            self._dropping = None

        self._dropping = self._dropping or asyncio.create_task(drop(), name="drop-idle-connections")

    async def _call(
        self, do: Callable[[], Awaitable[T]], may_retry: Callable[[Exception], bool] = is_passing
    ) -> T:
        """Run one exchange, repeated with backoff while its error is a passing one, within the time limit."""
        if self._is_closed:
            raise closed(self._name)

        async def note(error: Exception) -> None:
            self._committer.trouble = f"Last error: {say(error)}."
            # After a failover the pool's idle connections may lead to a server that is a replica now.
            await self._redis.connection_pool.disconnect(inuse_connections=False)

        # A new one for each call: it counts its own failures. -1: the time limit ends it.
        retry = Retry(EqualJitterBackoff(base=0.02, cap=1.0), -1, supported_errors=RETRIED)
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await retry.call_with_retry(do, note, is_retryable=may_retry)
        except TimeoutError:
            self._drop_idle_connections()
            raise StoreUnavailable(
                f"{self._name}: no answer within {self._timeout_s:g} s. {self._committer.trouble}".strip(),
                _REMEDY,
            ) from None
        except (RedisError, OSError) as error:
            raise self._refused(error) from error
        self._committer.trouble = ""
        return result
