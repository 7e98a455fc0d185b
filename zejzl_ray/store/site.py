"""All namespaces behind one address of a store: reading them out while writers go on, and replacing them all."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Protocol

from zejzl_ray.store.image import Record

# One namespace and its records; the records are used up before the next image is asked for.
Images = Iterable[tuple[str, Iterator[Record]]]


class StoreSite(Protocol):
    """Where the namespaces of a cluster lie.

    Attributes:
        name: the place, for messages; holds no password.
    """

    name: str

    async def namespaces(self) -> list[str]:
        """Return the namespaces that are there, in order of their names.

        Raises:
            StoreUnavailable: not reachable.
        """
        ...

    def export(self, namespace: str) -> AsyncIterator[Sequence[Record]]:
        """Yield the records of a namespace in batches, all of one moment after this began.

        It holds every commit that was acknowledged before that moment and nothing of a later one. No writer is
        stopped.

        Raises:
            NotFound: there is no such namespace.
            StoreError: what is there is damaged, or of another version.
            StoreUnavailable: not reachable.
        """
        ...

    async def users(self) -> list[str] | None:
        """Return who has namespaces open now, in words; None when that cannot be known."""
        ...

    async def interrupted(self) -> str:
        """Return what was being restored when a restore was cut off that nobody repeated since; empty: nothing."""
        ...

    async def replace(self, images: Images, *, source: str, now_s: float) -> list[str]:
        """Put images in place of everything that is there, all of them or none.

        A namespace without an image becomes empty. Epochs go above those of every earlier writer, of the images and of
        what was there, so that whoever still holds one gets ``StaleEpoch`` from its next commit.

        A process that is killed in here leaves what was there, or namespaces that refuse to be opened until this was
        done again.

        Args:
            images: each checked while it is read.
            source: where they come from, such as the name of a file; shown to whoever is refused.
            now_s: wall time.

        Returns:
            The namespaces that are there now.

        Raises:
            StoreLocked: somebody has a namespace open; nothing was changed.
            StoreError: an image is not whole; nothing was changed.
            StoreUnavailable: not reachable, or writers do not rest; nothing was changed unless it says so.
        """
        ...

    async def close(self) -> None:
        """Release connections; safe to repeat."""
        ...
