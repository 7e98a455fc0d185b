"""Identifiers: request ids, and the grammar of names."""

import itertools
import os
import re
import secrets

# Agent names come from two legacy files (CamelCase) and from users; no separators that mean something in a path
# or key.
NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_.-]{0,127}$"
NAME_REGEX = re.compile(NAME_PATTERN)

_prefix = secrets.token_hex(6)
_prefix_pid = os.getpid()
_counter = itertools.count(1)


def new_id(kind: str = "req") -> str:
    """Return an identifier that is unique over processes and restarts, such as ``req-1f0a9c23d4e5-17``.

    A random prefix per process and a counter: a few hundred nanoseconds instead of a system call per id.
    Not a secret and not hard to guess.
    """
    global _prefix, _prefix_pid
    pid = os.getpid()
    if pid != _prefix_pid:  # a forked child must not repeat its parent's ids
        _prefix, _prefix_pid = secrets.token_hex(6), pid
    return f"{kind}-{_prefix}-{next(_counter)}"
