"""What every benchmark on test hosts begins and ends with."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.hosts.hosts import reason_to_skip
from tests.hosts.leftovers import names_of_this_run


@contextmanager
def host_names() -> Iterator[str]:
    """Give the start of every name of this run; nothing of such a name is left at the end.

    Raises:
        SystemExit: 2, hosts cannot be made here; the reason is printed.
    """
    if reason := reason_to_skip():
        sys.stderr.write(f"error: {reason}\n")
        raise SystemExit(2)
    with names_of_this_run() as prefix:
        yield prefix
