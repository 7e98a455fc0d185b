"""Garbage collection held back while very many objects are made at once."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# Above this many records at once it pays to treat them as a bulk.
BULK: Final = 256


@contextmanager
def held_back(is_wanted: bool) -> Iterator[None]:
    """Pause the cyclic collector over a stretch of code without ``await``.

    A bulk registration makes some hundred thousand objects that all stay; the collector would walk through
    them again and again and find nothing, for a fifth of the time.

    Args:
        is_wanted: False does nothing.
    """
    if not is_wanted or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
