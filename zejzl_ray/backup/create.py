"""Making a back-up of a store while it works."""

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from zejzl_ray.backup.archive import write_archive
from zejzl_ray.backup.lines import STORE_LAYOUT, write_line
from zejzl_ray.backup.manifest import FILE_FORMAT, Manifest, NamespaceInBackup, SecretInBackup
from zejzl_ray.backup.verify import verify_backup
from zejzl_ray.bus.durable_sender import OUTBOX_PREFIX
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.security_gateway import SERVICE as SECURITY_GATEWAY
from zejzl_ray.errors import NotFound, StoreUnavailable
from zejzl_ray.store.image import ImageCheck, ImageFigures
from zejzl_ray.store.site import StoreSite
from zejzl_ray.version import __version__

Report = Callable[[str], None]


async def create_backup(
    site: StoreSite,
    target: Path,
    *,
    clock: Clock,
    secrets: Mapping[str, Path] | None = None,
    report: Report = lambda _: None,
) -> Manifest:
    """Write all namespaces of a store to one file, and read it back; writers go on meanwhile.

    Each namespace is of one moment of its own, after this began: every commit that was acknowledged before this began
    is in it, and of the later ones those before that moment.

    Args:
        site: the store.
        target: the file; must not exist yet.
        clock: for the times in the manifest.
        secrets: name in the back-up -> file, to go with it.
        report: told what has been done, a line each.

    Raises:
        NotFound: the store is empty.
        Conflict: the target exists.
        StoreUnavailable: the store cannot be reached, or the file not be written.
        StoreError: what the store holds is damaged.
    """
    started_at_s = clock.now_s()
    names = reading_order(await site.namespaces())
    if not names:
        raise NotFound(
            f"there is nothing to back up at {site.name}.",
            "Check ZEJZL_DATA_DIR and ZEJZL_STORE_URL.",
        )
    stage = Path(await asyncio.to_thread(_make_stage, target.parent))
    try:
        lines: dict[str, Path] = {}
        told: list[NamespaceInBackup] = []
        for name in names:
            lines[name] = stage / f"{name}.jsonl"
            told.append(await _write_lines(site, name, lines[name], clock))
            report(f"{name}: {told[-1].entries} keys, {told[-1].log_entries} log entries")
        contents = {name: await asyncio.to_thread(path.read_bytes) for name, path in (secrets or {}).items()}
        manifest = Manifest(
            file_format=FILE_FORMAT,
            store_layout=STORE_LAYOUT,
            zejzl_ray=__version__,
            store=site.name.partition(" ")[0],
            started_at_s=started_at_s,
            ended_at_s=clock.now_s(),
            namespaces=tuple(told),
            secrets=tuple(_told(name, path, contents[name]) for name, path in (secrets or {}).items()),
        )
        await asyncio.to_thread(write_archive, target, manifest, lines, contents)
    except OSError as error:
        raise StoreUnavailable(
            f"the back-up cannot be written to {target.parent}: {error.strerror}.", "Check space and owner."
        ) from None
    finally:
        await asyncio.to_thread(shutil.rmtree, stage, ignore_errors=True)
    try:
        return await verify_backup(target, clock)
    except BaseException:
        await asyncio.to_thread(target.unlink, missing_ok=True)
        raise


def reading_order(names: Sequence[str]) -> list[str]:
    """Return namespaces in the order in which a difference of their moments does no harm.

    Outboxes come before inboxes: mail that was on its way is delivered again, and its inbox knows it, instead of being
    in neither. The gateway, which anchors audit chains, comes before the chains: none is behind its anchor.
    """
    return sorted(
        names, key=lambda name: (not name.startswith(OUTBOX_PREFIX), name != SECURITY_GATEWAY, name)
    )


async def _write_lines(site: StoreSite, name: str, path: Path, clock: Clock) -> NamespaceInBackup:
    taken_at_s = clock.now_s()
    figures, digest, size_bytes = ImageFigures(), hashlib.sha256(), 0
    check = ImageCheck(figures)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        async for batch in site.export(name):
            for record in batch:
                check.take(record)
            content = b"".join(write_line(record) for record in batch)
            digest.update(content)
            size_bytes += len(content)
            await asyncio.to_thread(file.write, content)
    check.end()
    return NamespaceInBackup(
        name=name,
        taken_at_s=taken_at_s,
        epoch=figures.epoch,
        commits=figures.commits,
        entries=figures.entries,
        logs=figures.logs,
        log_entries=figures.log_entries,
        size_bytes=size_bytes,
        sha256=digest.hexdigest(),
    )


def _make_stage(parent: Path) -> str:
    try:
        return tempfile.mkdtemp(prefix=".zejzl-backup-", dir=parent)  # mode 0700
    except OSError as error:
        raise StoreUnavailable(
            f"the back-up cannot be written to {parent}: {error.strerror}.", "Check space and owner."
        ) from None


def _told(name: str, path: Path, content: bytes) -> SecretInBackup:
    return SecretInBackup(
        name=name,
        mode=path.stat().st_mode & 0o777,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
