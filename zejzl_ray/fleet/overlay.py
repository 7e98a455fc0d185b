"""An overlay (dev, staging, prod): a part of a unified file that is laid over the whole one."""

from zejzl_ray.fleet.document import Entry, Table, is_null


def lay_over(base: Table, overlay: Table) -> Table:
    """Return ``base`` with the overlay merged into it, mapping by mapping.

    Values and lists of the overlay replace those of the base; null removes the key. What comes from the
    overlay keeps its place in the overlay's file, so that a finding about it points there.
    """
    merged: list[Entry] = []
    over = dict(overlay.entries)
    for entry in base.every:
        change = over.get(entry.key)
        if change is None:
            merged.append(entry)
        elif isinstance(change.node, Table) and isinstance(entry.node, Table):
            merged.append(Entry(entry.key, entry.place, lay_over(entry.node, change.node)))
        elif not is_null(change.node):
            merged.append(change)
    merged.extend(
        _without_removals(entry)
        for key, entry in over.items()
        if key not in base.entries and not is_null(entry.node)
    )
    return Table({entry.key: entry for entry in merged}, tuple(merged), base.place)


def _without_removals(entry: Entry) -> Entry:
    """Drop the nulls of a new mapping: there is nothing that they could remove."""
    if not isinstance(entry.node, Table):
        return entry
    kept = tuple(_without_removals(inner) for inner in entry.node.every if not is_null(inner.node))
    return Entry(entry.key, entry.place, Table({inner.key: inner for inner in kept}, kept, entry.node.place))
