"""How a program that this process starts gets its secrets: in inherited files that have no name anywhere.

Such a file lies in memory, cannot be changed any more, and is gone with the last process that has it open. The
program's environment says only where it is, ``ZEJZL_SECRET_<NAME>_FILE=/proc/self/fd/7``, which
``zejzl_ray.sdk.secrets.get_secret`` reads. What else runs as the same user of the machine can look into the program and
its files, as always.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import SecretStr, TypeAdapter, ValidationError

from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.gateway_access import GatewayAccess
from zejzl_ray.contracts.secrets import REFERENCE, GetSecret, SecretName, SecretValue, file_variable_of
from zejzl_ray.errors import ClusterError, InvalidInput, NotFound, SecretNotFound

MAX_SECRETS: Final = 64
"""One program's; each is an open file of it."""

_NAME: Final = TypeAdapter[str](SecretName)
_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class SecretGateway(Protocol):
    """What is needed of the gateway's client."""

    async def get_secret(self, request: GetSecret) -> SecretValue:
        """Return a secret of the caller's own."""
        ...


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a program is started with: descriptors that it inherits, and variables that say what they hold."""

    descriptors: tuple[int, ...]
    variables: Mapping[str, str]


def references_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables whose value is a reference ``secret:NAME``, with the names of the secrets."""
    return {
        variable: text.removeprefix(REFERENCE)
        for variable, text in environment.items()
        if text.startswith(REFERENCE)
    }


def check_names(secrets: Mapping[str, str]) -> None:
    """Refuse what cannot be delivered.

    Args:
        secrets: name by which the program asks -> name of the secret.

    Raises:
        InvalidInput: a name has another form, two secrets would come under one name, or there are too many.
    """
    for name in (*secrets, *secrets.values()):
        try:
            _NAME.validate_python(name)
        except ValidationError:
            # It may be the secret itself, given by mistake: not repeated.
            raise InvalidInput(
                "The name of a secret has another form.",
                "Use 1 to 128 letters, digits, _ . and -, and begin with a letter or _.",
            ) from None
    if len(secrets) > MAX_SECRETS:
        raise InvalidInput(f"A program gets at most {MAX_SECRETS} secrets, not {len(secrets)}.")
    _by_file_variable(secrets)


def _by_file_variable(secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the file variables of a program, each with its secret: by the name it asks with, and the secret's own."""
    found: dict[str, str] = {}
    for asked, secret in secrets.items():
        for name in (asked, secret):
            variable = file_variable_of(name)
            if found.setdefault(variable, secret) != secret:
                raise InvalidInput(
                    f"The secrets {found[variable]} and {secret} would both be in {variable}.",
                    "Rename one of them.",
                )
    return found


async def fetch_secrets(gateway: SecretGateway, names: Iterable[str]) -> dict[str, SecretStr]:
    """Return the values of secrets by name.

    Args:
        gateway: called under the name of the subject that may read them.
        names: of the secrets; each is read once.

    Raises:
        SecretNotFound: some are not there, or not for this subject; names all of them.
        Unauthenticated: the subject's credential does not count.
        Unavailable: the gateway is away.
    """
    found: dict[str, SecretStr] = {}
    missing: list[str] = []
    for name in dict.fromkeys(names):
        try:
            found[name] = (await gateway.get_secret(GetSecret(name=name))).value
        except NotFound:
            missing.append(name)
    if missing:
        raise SecretNotFound(
            f"There is no secret {' and no secret '.join(missing)} for the credential of this program.",
            "`zejzl secrets list` shows for whom each is; `zejzl secrets set NAME --for agent:NAME` stores one.",
        )
    return found


async def fetch_as(credential: SecretStr, namespace: str, names: Iterable[str]) -> dict[str, SecretStr]:
    """Return the values of secrets, read from the gateway under the name of a credential; as ``fetch_secrets``."""
    access = GatewayAccess(namespace, credential, SystemClock())
    try:
        return await fetch_secrets(access.gateway, names)
    finally:
        await access.close()


@contextlib.contextmanager
def delivered(secrets: Mapping[str, str], values: Mapping[str, SecretStr]) -> Iterator[Delivered]:
    """Put secrets into files for one program; here they are closed at the end of the block, there they stay open.

    Args:
        secrets: name by which the program asks -> name of the secret, as ``check_names`` wants them.
        values: by name of the secret.

    Raises:
        ClusterError: the kernel gives no such file.
    """
    with contextlib.ExitStack() as stack:
        descriptors: dict[str, int] = {}
        for secret in dict.fromkeys(secrets.values()):
            descriptors[secret] = _sealed_file(values[secret])
            stack.callback(os.close, descriptors[secret])
        variables = {
            variable: f"/proc/self/fd/{descriptors[secret]}"
            for variable, secret in _by_file_variable(secrets).items()
        }
        yield Delivered(tuple(descriptors.values()), variables)


def _sealed_file(value: SecretStr) -> int:
    """Return a descriptor of a new file in memory that only its owner may open, and nobody may change."""
    try:
        descriptor = os.memfd_create("zejzl-secret", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as error:
        raise ClusterError(f"The kernel gives no file for a secret: {error.strerror}.") from None
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(value.get_secret_value().encode())
        os.fchmod(descriptor, 0o400)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except OSError as error:
        os.close(descriptor)
        raise ClusterError(f"A file for a secret cannot be written: {error.strerror}.") from None
    return descriptor
