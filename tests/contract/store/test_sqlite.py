"""What only the SQLite store has: its file, its lock, its disk."""

import asyncio
import fcntl
import os
import resource
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zejzl_ray.errors import SettingsInvalid, StoreError, StoreLocked, StoreUnavailable
from zejzl_ray.store import Append, Put, Versioned
from zejzl_ray.store.sqlite import SqliteStore
from zejzl_ray.testing import ManualClock


async def open_here(directory: Path, **options: Any) -> SqliteStore:
    return await SqliteStore.open(directory, "errors", clock=ManualClock(), owner="the first", **options)


async def test_a_second_opener_is_refused_with_path_process_and_owner(tmp_path: Path) -> None:
    store = await open_here(tmp_path)
    with pytest.raises(StoreLocked) as caught:
        await open_here(tmp_path)
    for part in (str(tmp_path / "errors.sqlite3"), f"process {os.getpid()}", "the first"):
        assert part in str(caught.value)
    await store.close()
    store = await open_here(tmp_path)
    await store.close()


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    store = await open_here(tmp_path)
    program = (
        "import asyncio, sys, pathlib\n"
        "from zejzl_ray.clock import SystemClock\n"
        "from zejzl_ray.store.sqlite import SqliteStore\n"
        "from zejzl_ray.errors import StoreLocked\n"
        "try: asyncio.run(SqliteStore.open(pathlib.Path(sys.argv[1]), 'errors', clock=SystemClock()))\n"
        "except StoreLocked as error: print(error)\n"
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    await store.close()
    assert f"process {os.getpid()} (the first)" in done.stdout, done.stderr


async def test_a_holder_that_has_not_written_its_name_is_another_process(tmp_path: Path) -> None:
    with (tmp_path / "errors.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreLocked, match="another process"):
            await open_here(tmp_path)


async def test_other_namespaces_in_the_directory_are_free(tmp_path: Path) -> None:
    first = await SqliteStore.open(tmp_path, "one", clock=ManualClock())
    second = await SqliteStore.open(tmp_path, "two", clock=ManualClock())
    await first.commit([Put("k", b"1")], epoch=await first.take_epoch())
    assert await second.get("k") is None
    await first.close()
    await second.close()


async def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    store = await open_here(tmp_path / "new" / "data")
    await store.commit([Put("k", b"secret hash")], epoch=await store.take_epoch())
    assert stat.S_IMODE((tmp_path / "new" / "data").stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new" / "data").iterdir()}
    assert set(modes) >= {"errors.sqlite3", "errors.sqlite3-wal", "errors.lock"}
    assert set(modes.values()) == {0o600}
    await store.close()


async def refused_and_unchanged(tmp_path: Path, text: str) -> None:
    path = tmp_path / "errors.sqlite3"
    before = path.read_bytes()
    with pytest.raises(StoreError, match=text) as caught:
        await open_here(tmp_path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "errors.sqlite3").write_bytes(b'{"data": {"k": 1}}' * 100)
    await refused_and_unchanged(tmp_path, "not a SQLite database")


async def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "errors.sqlite3")
    other.execute("CREATE TABLE meta (name, value)")
    other.commit()
    other.close()
    await refused_and_unchanged(tmp_path, "another program")


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    await (await open_here(tmp_path)).close()
    newer = sqlite3.connect(tmp_path / "errors.sqlite3")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    await refused_and_unchanged(tmp_path, "schema version 99")


async def test_a_renamed_file_is_refused(tmp_path: Path) -> None:
    await (await SqliteStore.open(tmp_path, "security", clock=ManualClock())).close()
    (tmp_path / "security.sqlite3").rename(tmp_path / "errors.sqlite3")
    await refused_and_unchanged(tmp_path, "'security'")


async def test_after_a_refusal_the_lock_is_free_again(tmp_path: Path) -> None:
    path = tmp_path / "errors.sqlite3"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError):
        await open_here(tmp_path)
    path.unlink()
    await (await open_here(tmp_path)).close()


async def test_an_empty_file_left_by_a_crash_at_creation_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "errors.sqlite3").touch()
    store = await open_here(tmp_path)
    await store.commit([Put("k", b"1")], epoch=await store.take_epoch())
    await store.close()


async def test_damaged_pages_are_an_error_and_no_empty_store(tmp_path: Path) -> None:
    store = await open_here(tmp_path)
    epoch = await store.take_epoch()
    await store.commit([Put(f"{n}", b"x" * 500) for n in range(500)], epoch=epoch)
    await store.close()
    path = tmp_path / "errors.sqlite3"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xee" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        await open_here(tmp_path)


async def test_damage_found_by_a_read_or_a_commit_is_an_error(tmp_path: Path) -> None:
    store = await open_here(tmp_path)
    epoch = await store.take_epoch()
    await store.commit([Put(f"{n:03d}", b"x" * 500) for n in range(500)], epoch=epoch)
    await store.close()
    path = tmp_path / "errors.sqlite3"
    content = bytearray(path.read_bytes())
    content[20 * 4096 :] = b"\xee" * (len(content) - 20 * 4096)
    path.write_bytes(content)
    store = await open_here(tmp_path)
    with pytest.raises(StoreError, match="damaged"):
        await store.scan("")
    epoch = await store.take_epoch()
    with pytest.raises(StoreError, match="damaged"):
        await store.commit([Put(f"{n:03d}", b"y" * 500) for n in range(500)], epoch=epoch)
    await store.close()


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsInvalid, match=str(tmp_path / "file" / "data")):
        await open_here(tmp_path / "file" / "data")


async def test_a_directory_where_the_file_should_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "errors.sqlite3").mkdir()
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await open_here(tmp_path)


async def test_a_namespace_that_is_no_file_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="cannot name a store"):
        await SqliteStore.open(tmp_path, "../escape", clock=ManualClock())


class Gate:
    """Stops the write thread at the next BEGIN until it is opened."""

    def __init__(self) -> None:
        self.is_armed = False
        self.is_open = threading.Event()
        self.reached = threading.Event()
        self.statements: list[str] = []

    def __call__(self, statement: str) -> None:
        self.statements.append(statement)
        if self.is_armed and statement.startswith("BEGIN"):
            self.is_armed = False
            self.reached.set()
            assert self.is_open.wait(30)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.is_open.set()


async def test_commits_that_wait_together_share_one_transaction(tmp_path: Path, gate: Gate) -> None:
    store = await open_here(tmp_path, on_statement=gate, timeout_s=30)
    epoch = await store.take_epoch()
    gate.statements.clear()
    gate.is_armed = True
    first = asyncio.create_task(store.commit([Append("l", b"0")], epoch=epoch))
    assert await asyncio.to_thread(gate.reached.wait, 30)
    rest = [asyncio.create_task(store.commit([Append("l", b"x")], epoch=epoch)) for _ in range(50)]
    await asyncio.sleep(0)
    gate.is_open.set()
    await asyncio.gather(first, *rest)
    assert gate.statements.count("COMMIT") == 2
    assert len(await store.read_log("l")) == 51
    await store.close()


async def test_reads_go_on_while_the_disk_is_slow_and_see_committed_state_only(
    tmp_path: Path, gate: Gate
) -> None:
    store = await open_here(tmp_path, on_statement=gate, timeout_s=30)
    epoch = await store.take_epoch()
    await store.commit([Put("k", b"1")], epoch=epoch)
    gate.is_armed = True
    slow = asyncio.create_task(store.commit([Put("k", b"2")], epoch=epoch))
    assert await asyncio.to_thread(gate.reached.wait, 30)
    assert await store.get("k") == Versioned(b"1", 1)
    gate.is_open.set()
    await slow
    assert await store.get("k") == Versioned(b"2", 2)
    await store.close()


async def test_a_disk_that_hangs_ends_the_wait_and_keeps_the_lock(tmp_path: Path, gate: Gate) -> None:
    store = await open_here(tmp_path, on_statement=gate, timeout_s=0.2)
    epoch = await store.take_epoch()
    gate.is_armed = True
    with pytest.raises(StoreUnavailable, match=r"within 0\.2 s"):
        await store.commit([Put("k", b"1")], epoch=epoch, commit_id="one")
    with pytest.raises(StoreUnavailable, match="disk did not answer"):
        await store.take_epoch()
    await store.close()
    with pytest.raises(StoreLocked):
        await open_here(tmp_path)
    gate.is_open.set()
    for _ in range(500):
        try:
            store = await open_here(tmp_path)
            break
        except StoreLocked:
            await asyncio.sleep(0.01)
    # The outcome was open; repeating it with its id is safe.
    epoch = await store.take_epoch()
    await store.commit([Put("k", b"1")], epoch=epoch, commit_id="one")
    assert await store.get("k") == Versioned(b"1", 1)
    await store.close()


async def test_a_full_disk_refuses_the_commit_and_loses_nothing(tmp_path: Path) -> None:
    store = await open_here(tmp_path)
    epoch = await store.take_epoch()
    await store.commit([Put("small", b"1")], epoch=epoch)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (600_000, hard)
    )  # Python ignores SIGXFSZ: a write beyond it fails
    try:
        with pytest.raises(StoreUnavailable, match="free space"):
            await store.commit([Put(f"big{n}", b"x" * 100_000) for n in range(50)], epoch=epoch)
        assert await store.get("small") == Versioned(b"1", 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
        with pytest.raises(StoreUnavailable, match="free space"):
            await store.take_epoch()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await store.scan("big") == []
    await store.commit([Put("small", b"2")], epoch=epoch, expect={"small": 1})
    await store.close()
    store = await open_here(tmp_path)
    assert [key for key, _ in await store.scan("")] == ["small"]
    assert await store.get("small") == Versioned(b"2", 2)
    await store.close()


async def test_the_policy_is_stated(tmp_path: Path) -> None:
    store = await open_here(tmp_path)
    assert "synced before each acknowledgement" in store.describe_durability().policy
    assert store.describe_durability().warnings == ()
    await store.close()
