"""What must not stand in a log line, and how it is taken out."""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from pydantic import SecretStr

_SECRET_KEY: Final = re.compile(
    r"(?i)((^|_)(token|secret|authorization|(api|access|private)_?key|credential)|passw(or)?d|passphrase)s?($|_)"
)
_BEARER: Final = re.compile(r"(?i)\bbearer\s+[A-Za-z0-9._~+/=-]+")
# Without the scheme: looking for its beginning takes time by the square of a long word.
_URL_PASSWORD: Final = re.compile(r"(?P<user>://[^/\s:@]*):[^/\s@]+@")
_HIDDEN: Final = "[hidden]"
_MAX_DEPTH: Final = 20  # deeper than an exception with its causes; a value that holds itself ends here


def is_secret_name(name: str) -> bool:
    """Tell whether a key, field or variable of this name is taken to hold a secret, such as ``DB_PASSWORD``."""
    return _SECRET_KEY.search(name) is not None


def redact(text: str) -> str:
    """Return the text without bearer tokens and without passwords in addresses."""
    return _URL_PASSWORD.sub(rf"\g<user>:{_HIDDEN}@", _BEARER.sub(f"Bearer {_HIDDEN}", text))


def hide_secrets(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace values whose key names a secret, and secrets inside texts, however deep; a structlog processor."""
    for key, value in event.items():
        event[key] = _clean(key, value, _MAX_DEPTH)
    return event


def _clean(key: object, value: Any, depth: int) -> Any:
    if isinstance(value, SecretStr | bytes) or (value and isinstance(key, str) and is_secret_name(key)):
        return _HIDDEN
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset) and not depth:
        return "[too deep]"
    if isinstance(value, Mapping):
        return {inner: _clean(inner, part, depth - 1) for inner, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", part, depth - 1) for part in value]
    return value
