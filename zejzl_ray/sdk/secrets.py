"""Where a program gets its secrets: from files that only it may read, else from the security gateway.

Looked for in this order: the file that ``ZEJZL_SECRET_<NAME>_FILE`` names, ``/run/secrets/<name>``, ``secrets/<name>``
in the working directory (only with ``ZEJZL_ENVIRONMENT=dev``), the gateway. Values never come from environment
variables: those are seen by every child process and in listings.
"""

import asyncio
import os
import re
import stat
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Final, Protocol

from pydantic import SecretStr

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.secrets import MAX_SECRET_BYTES, GetSecret, SecretValue, file_variable_of
from zejzl_ray.contracts.security_gateway import OPERATIONS
from zejzl_ray.errors import InvalidInput, NotFound, SecretNotFound, SettingsInvalid, ZejzlError

__all__ = ["file_variable_of", "find_in_files", "get_secret", "get_secret_async", "resolve"]

RUN_SECRETS: Final = Path("/run/secrets")
DEV_SECRETS: Final = Path("secrets")

_NAME_TEXT: Final = r"[A-Za-z_][A-Za-z0-9_.-]{0,127}"
_NAME: Final = re.compile(_NAME_TEXT)
_WHOLE: Final = re.compile(rf"secret:({_NAME_TEXT})")
_INSIDE: Final = re.compile(rf"\$\{{secret:({_NAME_TEXT})\}}")
_GET: Final = next(operation for operation in OPERATIONS if operation.name == "get_secret")


class SecretClient(Protocol):
    """What is needed of ``zejzl_ray.Client``."""

    def call(self, operation: Operation, request: Contract) -> Contract:
        """Run an operation and return its reply."""
        ...


class AsyncSecretClient(Protocol):
    """What is needed of ``zejzl_ray.AsyncClient``."""

    def call(self, operation: Operation, request: Contract) -> Awaitable[Contract]:
        """Run an operation and return its reply."""
        ...


def get_secret(
    name: str,
    *,
    client: SecretClient | None = None,
    is_required: bool = True,
    environ: Mapping[str, str] | None = None,
) -> SecretStr:
    """Return a secret of this program.

    Args:
        name: 1 to 128 letters, digits, ``_``, ``.`` and ``-``; begins with a letter or ``_``.
        client: asks the gateway in the name of this program; null looks at files alone.
        is_required: false returns an empty secret when there is none.
        environ: environment variables; null takes the process's own.

    Raises:
        SecretNotFound: it is required and nowhere; says where was looked.
        InvalidInput: the name has another form.
        SettingsInvalid: others may read the file, it is too large, is no text, or cannot be read.
        Unavailable: the gateway is away.
    """
    found = find_in_files(name, environ=environ)
    if found is None and client is not None:
        try:
            found = _value_of(client.call(_GET, GetSecret(name=name)))
        except NotFound:
            found = None
    return _answer(name, found, is_required=is_required, is_gateway_asked=client is not None)


async def get_secret_async(
    name: str,
    *,
    client: AsyncSecretClient | None = None,
    is_required: bool = True,
    environ: Mapping[str, str] | None = None,
) -> SecretStr:
    """Return a secret of this program as ``get_secret`` does, for programs with a running event loop."""
    found = await asyncio.to_thread(find_in_files, name, environ=environ)
    if found is None and client is not None:
        try:
            found = _value_of(await client.call(_GET, GetSecret(name=name)))
        except NotFound:
            found = None
    return _answer(name, found, is_required=is_required, is_gateway_asked=client is not None)


def resolve(
    text: str, *, client: SecretClient | None = None, environ: Mapping[str, str] | None = None
) -> SecretStr:
    """Return a text with its references to secrets replaced.

    ``secret:NAME`` as the whole text is replaced by that secret, and ``${secret:NAME}`` anywhere inside of a text.
    A text without references comes back as it is. What a secret holds is not looked at again.

    Raises:
        SecretNotFound: a secret is nowhere; otherwise as ``get_secret``.
    """

    def value(found: re.Match[str]) -> str:
        return get_secret(found[1], client=client, environ=environ).get_secret_value()

    whole = _WHOLE.fullmatch(text)
    return SecretStr(value(whole) if whole is not None else _INSIDE.sub(value, text))


def find_in_files(name: str, *, environ: Mapping[str, str] | None = None) -> SecretStr | None:
    """Return a secret from the first file that holds it; null when there is no such file. Raises as ``get_secret``."""
    if _NAME.fullmatch(name) is None:
        raise InvalidInput(
            "The name of a secret has another form.",
            "Use 1 to 128 letters, digits, _ . and -, and begin with a letter or _.",
        )
    variables = os.environ if environ is None else environ
    variable = file_variable_of(name)
    if named := variables.get(variable, ""):
        found = _read(Path(named))
        if found is None:
            raise SettingsInvalid(
                f"There is no file {named}, which {variable} names.", "Correct the variable."
            )
        return found
    folders = [RUN_SECRETS, *([DEV_SECRETS] if variables.get("ZEJZL_ENVIRONMENT") == "dev" else [])]
    return next((found for folder in folders if (found := _read(folder / name)) is not None), None)


def _read(path: Path) -> SecretStr | None:
    try:
        # Not blocking: a pipe without a writer is refused below, not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SettingsInvalid(f"Cannot read the secret file {path}: {error.strerror}.") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise SettingsInvalid(f"The secret file {path} is no ordinary file.", "Remove it.")
        if mode & 0o077:
            raise SettingsInvalid(
                f"Others may read the secret file {path}.",
                f"Run: chmod 600 {path} (in a container: mount the secret with mode 0400).",
            )
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_SECRET_BYTES + 3)
    finally:
        os.close(descriptor)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise SettingsInvalid(f"The secret file {path} is not text in UTF-8.") from None
    text = text.removesuffix("\n").removesuffix("\r")  # what editors add
    if not text or len(text.encode()) > MAX_SECRET_BYTES:
        raise SettingsInvalid(
            f"The secret file {path} holds {'nothing' if not text else 'too much'}.",
            f"A secret has 1 to {MAX_SECRET_BYTES} bytes.",
        )
    return SecretStr(text)


def _value_of(reply: Contract) -> SecretStr:
    if not isinstance(reply, SecretValue):
        raise ZejzlError(f"The answer is a {type(reply).__name__} and no SecretValue.")
    return reply.value


def _answer(name: str, found: SecretStr | None, *, is_required: bool, is_gateway_asked: bool) -> SecretStr:
    if found is not None:
        return found
    if not is_required:
        return SecretStr("")
    gateway = "nor has the gateway one for this program" if is_gateway_asked else "and no gateway was asked"
    raise SecretNotFound(
        f"There is no secret {name}: neither {file_variable_of(name)} nor a file of that name in {RUN_SECRETS}"
        f" holds it, {gateway}.",
        "Store it with `zejzl secrets set`, or write the file with mode 0600.",
    )
