"""The file of a back-up: what is in it, and every way in which it can be no good."""

import asyncio
import gzip
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from zejzl_ray.backup import archive
from zejzl_ray.backup.archive import Archive
from zejzl_ray.backup.create import create_backup, reading_order
from zejzl_ray.backup.lines import read_lines, write_line
from zejzl_ray.backup.restore import restore_backup, restore_secrets
from zejzl_ray.backup.seal import SEAL_BYTES, SealingWriter, check_seal
from zejzl_ray.backup.shelf import drop_old, list_shelf, new_path
from zejzl_ray.backup.verify import verify_backup
from zejzl_ray.errors import Conflict, InvalidInput, NotFound, StoreError, StoreUnavailable, ZejzlError
from zejzl_ray.store import Append, MemoryState, MemoryStore, Put, Trim
from zejzl_ray.store.image import (
    ImageCommitId,
    ImageEntry,
    ImageHead,
    ImageLog,
    ImageLogEntry,
    Record,
)
from zejzl_ray.store.site_memory import MemorySite
from zejzl_ray.testing import ManualClock
from zejzl_ray.version import __version__

CLOCK = ManualClock()


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def files_in(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def told_by(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)


async def filled_site() -> MemorySite:
    site = MemorySite({name: MemoryState() for name in ("one", "two")})
    for name, state in site.states.items():
        store = MemoryStore(clock=CLOCK, state=state, name=name)
        epoch = await store.take_epoch()
        await store.commit(
            [
                Put("k", name.encode()),
                Put("gone", b"\xff", CLOCK.now_s() + 1),
                Append("l", b"1"),
                Append("l", b"2"),
            ],
            epoch=epoch,
            commit_id="c",
        )
        await store.commit([Trim("l", 1)], epoch=epoch)
    return site


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    target = tmp_path / "b.tar.gz"
    await create_backup(await filled_site(), target, clock=CLOCK)
    return target


RECORDS: list[Record] = [
    ImageHead("n", 3, 2**53 - 1),
    ImageCommitId('c\n"é', 7),
    ImageEntry("k\x00", 1, None, b""),
    ImageEntry("m", 2, 1234567890.123456, bytes(range(256))),
    ImageEntry("t", 2, None, "é\u2028\x00".encode()),
    ImageLog("l", 9),
    ImageLogEntry(9, b"\xff"),
]


def test_records_come_back_from_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"".join(write_line(record) for record in RECORDS))
    assert len(file.read_bytes().splitlines()) == len(RECORDS)
    with file.open("rb") as opened:
        assert list(read_lines(opened, "here")) == RECORDS


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"[]",
        b"{}",
        b'{"key": 1, "version": 1, "text": ""}',
        b'{"key": "k", "version": "1", "text": ""}',
        b'{"key": "k", "version": 1}',
        b'{"key": "k", "version": 1, "base64": "?"}',
        b'{"key": "k", "version": true, "text": ""}',
    ],
)
def test_a_line_that_is_no_record_is_named_with_its_number(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "lines"
    file.write_bytes(write_line(RECORDS[0]) + line + b"\n")
    with file.open("rb") as opened, pytest.raises(InvalidInput, match="here: line 2 is no record"):
        list(read_lines(opened, "here"))


async def test_a_backup_is_one_private_file_that_ordinary_programs_read(path: Path) -> None:
    assert mode_of(path) == 0o600
    assert [each.name for each in files_in(path.parent)] == [path.name]
    assert told_by("gzip", "-t", str(path)).stderr == ""
    done = told_by("tar", "tzf", str(path))
    assert done.stdout.split() == ["manifest.json", "namespaces/one.jsonl", "namespaces/two.jsonl"]
    assert (done.stderr, done.returncode) == ("", 0)
    told = (await verify_backup(path, CLOCK)).model_dump()
    assert (told["store"], told["zejzl_ray"], told["secrets"]) == ("memory", __version__, ())
    one = told["namespaces"][0]
    assert {key: one[key] for key in ("name", "epoch", "commits", "entries", "logs", "log_entries")} == {
        "name": "one",
        "epoch": 1,
        "commits": 2,
        "entries": 2,
        "logs": 1,
        "log_entries": 1,
    }


async def test_what_has_expired_since_is_no_fault(path: Path) -> None:
    later = ManualClock()
    later.advance(1000)
    await verify_backup(path, later)


async def test_every_flipped_byte_is_found(path: Path) -> None:
    content = content_of(path)
    for at in range(len(content)):
        write(path, content[:at] + bytes([content[at] ^ 0x01]) + content[at + 1 :])
        with pytest.raises(InvalidInput):
            check_seal(path)
    write(path, content)
    check_seal(path)


async def test_every_file_that_was_cut_short_is_found(path: Path) -> None:
    content = content_of(path)
    for size in range(len(content)):
        write(path, content[:size])
        with pytest.raises(InvalidInput, match=r"cut short|no back-up|damaged"):
            check_seal(path)
    write(path, content + b"x")
    with pytest.raises(InvalidInput):
        check_seal(path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_text("something else"), "no back-up of zejzl"),
        (lambda path: write(path, b""), "no back-up of zejzl"),
        (lambda path: write(path, content_of(path)[:-1]), "cut short|damaged"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    ],
)
async def test_a_file_that_is_no_good_is_one_message_with_a_remedy_and_changes_nothing(
    path: Path, make: object, said: str
) -> None:
    make(path)  # type: ignore[operator]
    site = await filled_site()
    before = {name: (state.epoch, dict(state.values)) for name, state in site.states.items()}
    with pytest.raises(ZejzlError, match=said) as caught:
        await restore_backup(site, path, clock=CLOCK, shelf=path.parent, is_forced=True)
    assert caught.value.remedy
    assert before == {name: (state.epoch, dict(state.values)) for name, state in site.states.items()}


def rewrite(path: Path, change: dict[str, bytes | None], *, extra: tuple[str, bytes] | None = None) -> None:
    """Write the file anew with members changed, and a seal that fits: what no accident does."""
    with tarfile.open(path) as tar:
        members = {each.name: tar.extractfile(each).read() for each in tar.getmembers()}  # type: ignore[union-attr]
    members |= {name: content for name, content in change.items() if content is not None}
    for name, content in change.items():
        if content is None:
            del members[name]
    with path.open("wb") as file:
        sealing = SealingWriter(file)
        with (
            gzip.GzipFile("", "wb", fileobj=sealing, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            for name, content in members.items():
                archive._add(tar, name, content, 0)
        sealing.seal()


def changed_manifest(path: Path, **fields: object) -> bytes:
    with tarfile.open(path) as tar:
        told = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
    return json.dumps(told | fields).encode()


@pytest.mark.parametrize("field", ["file_format", "store_layout"])
async def test_a_backup_of_a_newer_program_names_it(path: Path, field: str) -> None:
    rewrite(path, {"manifest.json": changed_manifest(path, zejzl_ray="9.9", **{field: 2})})
    with pytest.raises(InvalidInput, match=r"written by zejzl-ray 9\.9 .*Use that version"):
        await verify_backup(path, CLOCK)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"manifest.json": b"{}"}, "no manifest"),
        ({"manifest.json": b"no json"}, "no manifest"),
        ({"manifest.json": None}, "no manifest"),
        ({"namespaces/two.jsonl": None}, "lacks namespaces/two"),
        ({"namespaces/two.jsonl": write_line(ImageHead("two", 1, 0))}, "two is not what the manifest says"),
    ],
)
async def test_a_file_whose_parts_do_not_fit_is_refused(
    path: Path, change: dict[str, bytes | None], said: str
) -> None:
    rewrite(path, change)
    with pytest.raises(InvalidInput, match=said):
        await verify_backup(path, CLOCK)


async def test_figures_that_are_not_those_of_the_lines_are_refused(path: Path) -> None:
    told = json.loads(changed_manifest(path))
    told["namespaces"][0]["entries"] += 1
    rewrite(path, {"manifest.json": json.dumps(told).encode()})
    with pytest.raises(InvalidInput, match="one is not what"):
        await verify_backup(path, CLOCK)
    told["namespaces"][0]["entries"] -= 1
    told["namespaces"][0]["log_entries"] += 1
    rewrite(path, {"manifest.json": json.dumps(told).encode()})
    with pytest.raises(InvalidInput, match="one does not read as"):
        await verify_backup(path, CLOCK)


async def test_an_empty_store_is_not_backed_up(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nothing to back up at memory.*ZEJZL_STORE_URL"):
        await create_backup(MemorySite(), tmp_path / "b.tar.gz", clock=CLOCK)
    assert not list(files_in(tmp_path))


async def test_no_file_is_replaced_and_none_is_left_half_written(tmp_path: Path) -> None:
    target = tmp_path / "b.tar.gz"
    target.write_text("mine")
    with pytest.raises(Conflict, match="exists"):
        await create_backup(await filled_site(), target, clock=CLOCK)
    assert target.read_text() == "mine"
    assert list(files_in(tmp_path)) == [target]
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await create_backup(await filled_site(), tmp_path / "absent" / "b.tar.gz", clock=CLOCK)


async def test_what_no_store_can_hold_is_not_written(tmp_path: Path) -> None:
    site = await filled_site()
    site.states["one"].logs[b"l"].last_index = -1
    with pytest.raises(StoreError):
        await create_backup(site, tmp_path / "b.tar.gz", clock=CLOCK)
    assert not list(files_in(tmp_path))


async def test_a_restore_brings_back_what_was_there_and_keeps_what_it_replaces(path: Path) -> None:
    site = await filled_site()
    site.states["three"] = MemoryState(epoch=5)
    shelf = path.parent / "shelf"
    with pytest.raises(Conflict, match="not empty: one, three, two"):
        await restore_backup(site, path, clock=CLOCK, shelf=shelf)
    done = await restore_backup(site, path, clock=CLOCK, shelf=shelf, is_forced=True)
    assert (done.namespaces, done.are_users_known) == (("one", "three", "two"), True)
    assert done.before is not None
    assert "three" in {each.name for each in (await verify_backup(done.before, CLOCK)).namespaces}
    assert (await MemoryStore(clock=CLOCK, state=site.states["one"]).read_log("l"))[0].value == b"2"
    empty = MemorySite()
    assert (await restore_backup(empty, path, clock=CLOCK, shelf=shelf)).before is None
    assert sorted(empty.states) == ["one", "two"]


async def test_a_damaged_store_is_not_replaced_without_a_copy(path: Path) -> None:
    site = await filled_site()
    site.states["one"].logs[b"l"].last_index = -1
    with pytest.raises(StoreError, match=r"cannot be saved first.*Move the damaged file"):
        await restore_backup(site, path, clock=CLOCK, shelf=path.parent, is_forced=True)


class BusySite(MemorySite):
    async def users(self) -> list[str] | None:
        return ["one is in use by process 7", "two is in use by process 8"]


async def test_a_store_that_is_in_use_is_not_replaced(path: Path) -> None:
    with pytest.raises(Conflict, match=r"process 7 and 1 more\. Stop the services"):
        await restore_backup(BusySite(), path, clock=CLOCK, shelf=path.parent, is_forced=True)


class InterruptedSite(MemorySite):
    async def interrupted(self) -> str:
        return "b.tar.gz"


async def test_what_a_restore_left_half_done_is_replaced_without_being_asked_for(path: Path) -> None:
    said: list[str] = []
    site = InterruptedSite({"one": MemoryState()})
    done = await restore_backup(site, path, clock=CLOCK, shelf=path.parent, report=said.append)
    assert done.before is None
    assert "cut off here" in said[1]


async def test_secret_files_go_along_only_when_named_and_come_back_private(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    (home / "tls").mkdir(parents=True)
    other.mkdir()
    for name, mode in (("token", 0o600), ("tls/ca.pem", 0o644)):
        (home / name).write_text(f"content of {name}")
        (home / name).chmod(mode)
    names = {name: home / name for name in ("token", "tls/ca.pem")}
    target = tmp_path / "b.tar.gz"
    told = await create_backup(await filled_site(), target, clock=CLOCK, secrets=names)
    assert archive.names_of(told.secrets) == "token, tls/ca.pem"
    assert await restore_secrets(target, other) == ["token", "tls/ca.pem"]
    assert (other / "tls/ca.pem").read_text() == "content of tls/ca.pem"
    assert [(other / name).stat().st_mode & 0o777 for name in names] == [0o600, 0o644]
    assert await restore_secrets(target, other) == []
    (other / "token").write_text("another")
    with pytest.raises(Conflict, match="has other ones: token"):
        await restore_secrets(target, other)
    assert await restore_secrets(target, other, is_forced=True) == ["token"]
    assert (other / "token.before-restore").read_text() == "another"


async def test_secret_files_that_do_not_fit_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no secret files"):
        await restore_secrets(path, tmp_path)
    (tmp_path / "token").write_text("t")
    with_secrets = tmp_path / "s.tar.gz"
    await create_backup(
        await filled_site(), with_secrets, clock=CLOCK, secrets={"../token": tmp_path / "token"}
    )
    data = tmp_path / "data"
    data.mkdir()
    with pytest.raises(InvalidInput, match="leads out of the data directory"):
        await restore_secrets(with_secrets, data)
    rewrite(with_secrets, {"secrets/../token": b"x"})
    with pytest.raises(InvalidInput, match="not what the manifest says"):
        await restore_secrets(with_secrets, data)
    rewrite(with_secrets, {"secrets/../token": None})
    with pytest.raises(InvalidInput, match="lacks secrets"):
        await restore_secrets(with_secrets, data)


async def test_the_newest_are_kept_and_nothing_else_is_touched(tmp_path: Path) -> None:
    site = await filled_site()
    paths = [new_path(tmp_path, 1_700_000_000.0 + number) for number in range(4)]
    for each in [*paths, new_path(tmp_path, 1.0, before="restore")]:
        await create_backup(site, each, clock=CLOCK)
    (tmp_path / "zejzl-notes.tar.gz").write_text("mine")
    paths[3].write_bytes(paths[3].read_bytes()[:-SEAL_BYTES])
    found = await asyncio.to_thread(list_shelf, tmp_path)
    assert [each.path.name for each in found] == sorted(
        each.name for each in files_in(tmp_path) if each.name != "zejzl-notes.tar.gz"
    )
    assert [bool(each.fault) for each in found] == [False, False, False, False, True]
    assert drop_old(tmp_path, 2) == paths[:2]
    assert drop_old(tmp_path, 2) == []
    assert [each.name for each in files_in(tmp_path)] == [
        "zejzl-19700101T000001.000Z-before-restore.tar.gz",
        paths[2].name,
        paths[3].name,
        "zejzl-notes.tar.gz",
    ]


def test_an_archive_that_is_sealed_and_no_tar_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    with path.open("wb") as file:
        sealing = SealingWriter(file)
        sealing.write(b"no gzip")
        sealing.flush()
        sealing.seal()
    with pytest.raises(InvalidInput, match=r"tar\.gz|manifest"):
        Archive.open(path)


def test_outboxes_are_read_before_inboxes_and_anchors_before_chains() -> None:
    names = [
        "agent.A",
        "core_orchestrator",
        "core_orchestrator.audit",
        "outbox.h",
        "security_gateway",
        "z.audit",
    ]
    assert reading_order(names) == [
        "outbox.h",
        "security_gateway",
        "agent.A",
        "core_orchestrator",
        "core_orchestrator.audit",
        "z.audit",
    ]
