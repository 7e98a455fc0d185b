"""The way back: a back-up in place of everything that a store holds."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zejzl_ray.backup.archive import Archive
from zejzl_ray.backup.create import create_backup
from zejzl_ray.backup.manifest import Manifest, SecretInBackup
from zejzl_ray.backup.shelf import make_shelf, new_path
from zejzl_ray.backup.verify import verify_backup
from zejzl_ray.clock import Clock
from zejzl_ray.errors import Conflict, InvalidInput, StoreError, StoreUnavailable
from zejzl_ray.store.site import StoreSite

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        manifest: of the back-up.
        namespaces: that are there now; those that the back-up did not have are empty.
        before: back-up of what was there; None where there was nothing, or a restore that was cut off.
        are_users_known: whether it could be seen that nobody has the store open.
    """

    manifest: Manifest
    namespaces: tuple[str, ...]
    before: Path | None
    are_users_known: bool


async def restore_backup(
    site: StoreSite,
    path: Path,
    *,
    clock: Clock,
    shelf: Path,
    is_forced: bool = False,
    report: Report = lambda _: None,
) -> Restored:
    """Put a back-up in place of everything in the store, all of it or nothing.

    All is read and checked before anything is touched. The epochs of all namespaces go above those of every earlier
    writer. Safe to repeat: a restore that was cut off is completed by the next one.

    Args:
        site: the store; of the kind that the back-up is of, or of another.
        path: the back-up.
        clock: for the times of the back-up before.
        shelf: where that one goes.
        is_forced: replace what is there, after a back-up of it.
        report: told what has been done, a line each.

    Raises:
        NotFound: no such file.
        InvalidInput: the back-up is not whole, or of a newer program.
        Conflict: the store is open somewhere, or is not empty and this is not forced.
        StoreUnavailable: the store cannot be reached.
    """
    manifest = await verify_backup(path, clock)
    report(f"{path.name} is whole: {len(manifest.namespaces)} namespaces, {manifest.entries} entries")
    users = await site.users()
    if users:
        others = f" and {len(users) - 1} more" if len(users) > 1 else ""
        raise Conflict(
            f"{users[0]}{others}.",
            "Stop the services first: `zejzl down`, or `ray down` on several machines.",
        )
    before = await _save_what_is_there(site, clock, shelf, is_forced=is_forced, report=report)
    images = Archive.open(path).images()
    namespaces = await site.replace(images, source=path.name, now_s=clock.now_s())
    return Restored(manifest, tuple(namespaces), before, users is not None)


async def _save_what_is_there(
    site: StoreSite, clock: Clock, shelf: Path, *, is_forced: bool, report: Report
) -> Path | None:
    if source := await site.interrupted():
        report(f"a restore from {source} was cut off here; what it left is replaced")
        return None
    there = await site.namespaces()
    if not there:
        return None
    if not is_forced:
        raise Conflict(
            f"{site.name} is not empty: {', '.join(there[:3])}{' ...' if len(there) > 3 else ''}.",
            "--force replaces what is there, after a back-up of it.",
        )
    make_shelf(shelf)
    before = new_path(shelf, clock.now_s(), before="restore")
    try:
        await create_backup(site, before, clock=clock)
    except StoreError as error:
        raise StoreError(
            f"what is there cannot be saved first: {error.message}",
            "Move the damaged file away, then repeat.",
        ) from error
    report(f"what was there is in {before}")
    return before


async def restore_secrets(path: Path, directory: Path, *, is_forced: bool = False) -> list[str]:
    """Write the secret files of a back-up; those that are there with the same content are left alone.

    Args:
        path: the back-up.
        directory: the data directory.
        is_forced: put aside a file that differs, as ``NAME.before-restore``, instead of refusing.

    Returns:
        What was written.

    Raises:
        InvalidInput: the back-up holds none, or is not whole.
        Conflict: a file is there with another content, and this is not forced; nothing was written.
        StoreUnavailable: a file cannot be written.
    """
    return await asyncio.to_thread(_restore_secrets, path, directory, is_forced)


def _restore_secrets(path: Path, directory: Path, is_forced: bool) -> list[str]:
    found = list(Archive.open(path).secrets())
    if not found:
        raise InvalidInput(f"{path} holds no secret files.", "It was made without --with-secrets.")
    for secret, _ in found:
        if not (directory / secret.name).resolve().is_relative_to(directory.resolve()):
            raise InvalidInput(
                f"the name {secret.name!r} leads out of the data directory.", "Do not use this back-up."
            )
    try:
        changed = [
            (secret, content) for secret, content in found if _differs(directory / secret.name, content)
        ]
        taken = [secret.name for secret, _ in changed if (directory / secret.name).exists()]
        if taken and not is_forced:
            raise Conflict(f"{directory} has other ones: {', '.join(taken)}.", "--force puts them aside.")
        for secret, content in changed:
            _write_secret(directory, secret, content)
    except OSError as error:
        raise StoreUnavailable(
            f"{directory} cannot be written: {error.strerror}.", "Check space and owner."
        ) from None
    return [secret.name for secret, _ in changed]


def _differs(path: Path, content: bytes) -> bool:
    return not path.exists() or path.read_bytes() != content


def _write_secret(directory: Path, secret: SecretInBackup, content: bytes) -> None:
    target = directory / secret.name
    if not target.resolve().is_relative_to(directory.resolve()):
        raise InvalidInput(
            f"the name {secret.name!r} leads out of the data directory.", "Do not use this back-up."
        )
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if target.exists():
        target.replace(target.with_name(f"{target.name}.before-restore"))
    temporary = target.with_name(f".{target.name}.new")
    # Nobody gets more rights by a restore than the owner.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, secret.mode & 0o744)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
