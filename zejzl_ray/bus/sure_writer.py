"""Commits of which each outcome becomes known: one that was left in the open is repeated before the next."""

from collections.abc import Callable, Sequence

from zejzl_ray.commands.store_writer import StoreWriter
from zejzl_ray.errors import StaleEpoch
from zejzl_ray.ids import new_id
from zejzl_ray.store.protocol import Op


class SureWriter(StoreWriter):
    """The one writer of a store that never takes the store back from a newer one.

    Taking a new epoch after a lost answer would fence whoever took over meanwhile. Repeating the commit under its own
    id does not: it is applied once, or refused because the epoch is over.
    """

    _unsure: tuple[Sequence[Op], str, Callable[[], None]] | None = None

    async def _end_doubt(self) -> None:
        """Find out what became of the last commit, if that is not known; it is applied then.

        Raises:
            StoreUnavailable: still not known; safe to call again.
            StaleEpoch: another writer has taken over.
        """
        if self._unsure is None:
            self.is_in_doubt = False
            return
        ops, commit_id, apply_late = self._unsure
        await self._store_ops(ops, {}, commit_id)
        self._unsure = None
        apply_late()

    async def _commit_surely(
        self, ops: Sequence[Op], apply: Callable[[], None], apply_late: Callable[[], None]
    ) -> None:
        """Commit and apply.

        Args:
            ops: all or none.
            apply: changes memory to what is stored now; must not raise.
            apply_late: the same, where the commit was reported as failed and is found to be stored afterwards.

        Raises:
            StoreUnavailable: it may or may not have happened; ``prepare`` finds out.
            StaleEpoch: nothing happened, and nothing will.
        """
        commit_id = new_id("commit")
        self._unsure = (ops, commit_id, apply_late)
        try:
            await self._store_ops(ops, {}, commit_id)
        except StaleEpoch:
            self._unsure = None
            raise
        self._unsure = None
        apply()
