"""The text of a long-lived credential: ``zk_<credential id>_<secret>``.

Both parts are lower case hexadecimal, 16 and 64 digits. Whoever keeps credentials keeps SHA-256 over the secret part
and nothing else: 256 random bits need no slow hash. The id of a credential that its owner makes is the beginning of
that digest, so that a machine knows its id before anybody has answered it.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from zejzl_ray.errors import InvalidInput, LoginRefused

SECRET_BYTES: Final = 32
_ID_BYTES: Final = 8
_ID_DIGITS: Final = 2 * _ID_BYTES
_CODE_DIGITS: Final = 8
_TEXT: Final = re.compile(r"zk_([0-9a-f]{16})_([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class CredentialText:
    """A credential's two parts; printing it shows the id alone.

    Attributes:
        credential_id: 16 hexadecimal digits; no secret.
        secret: 64 hexadecimal digits.
    """

    credential_id: str
    secret: SecretStr

    @property
    def digest(self) -> str:
        """What the gateway keeps: SHA-256 of the secret part, hexadecimal."""
        return secret_digest(self.secret)

    def reveal(self) -> SecretStr:
        """Return the whole text, which is what proves its owner."""
        return format_text(self.credential_id, self.secret)


def new_credential() -> SecretStr:
    """Return a new random credential whose id follows from its secret."""
    return format_own(SecretStr(new_secret_hex()))


def new_credential_id() -> str:
    """Return a random credential id."""
    return secrets.token_hex(_ID_BYTES)


def new_secret_hex() -> str:
    """Return 256 random bits as 64 hexadecimal digits."""
    return secrets.token_hex(SECRET_BYTES)


def format_own(secret: SecretStr) -> SecretStr:
    """Return the text of a credential that its owner makes: the id follows from the secret."""
    return format_text(own_id(secret_digest(secret)), secret)


def format_text(credential_id: str, secret: SecretStr) -> SecretStr:
    """Return the text of a credential.

    Raises:
        ValueError: a part has another form; says which, without its value.
    """
    text = f"zk_{credential_id}_{secret.get_secret_value()}"
    if _TEXT.fullmatch(text) is None:
        raise ValueError("a credential has 16 and its secret 64 lower case hexadecimal digits")
    return SecretStr(text)


def parse_text(text: SecretStr | str) -> CredentialText | None:
    """Return the parts of a credential's text; null when it has another form."""
    found = _TEXT.fullmatch(text if isinstance(text, str) else text.get_secret_value())
    return None if found is None else CredentialText(found[1], SecretStr(found[2]))


def require_text(text: SecretStr | str) -> CredentialText:
    """Return the parts of a credential's text.

    Raises:
        InvalidInput: it has another form; never quotes it.
    """
    found = parse_text(text)
    if found is None:
        raise InvalidInput(
            "This is no credential: one has the form zk_<16 digits>_<64 digits>.",
            "Use it as it was shown when it was made.",
        )
    return found


def digest_of(text: SecretStr | str) -> str:
    """Return what the gateway keeps of a credential, from its whole text; raises as ``require_text``."""
    return require_text(text).digest


def credential_id_of(text: SecretStr | str) -> str:
    """Return the id of a credential, from its whole text; raises as ``require_text``."""
    return require_text(text).credential_id


def secret_digest(secret: SecretStr) -> str:
    """Return SHA-256 of a secret part, hexadecimal."""
    return hashlib.sha256(secret.get_secret_value().encode()).hexdigest()


def own_id(digest: str) -> str:
    """Return the id of a credential that its owner made, from the digest of its secret."""
    return digest[:_ID_DIGITS]


def code_of(digest: str) -> str:
    """Return the short form of a digest that people compare, such as ``1f0a-9c23``."""
    digits = digest[:_CODE_DIGITS]
    return f"{digits[:4]}-{digits[4:]}"


def is_same(one: str, other: str) -> bool:
    """Compare two digests or secrets in a time that does not tell how much of them agrees."""
    return hmac.compare_digest(one.encode(), other.encode())


def login_refused() -> LoginRefused:
    """Return the one error of every proof that does not count, whatever is wrong with it."""
    return LoginRefused("The name, password or credential is not right.", "Check it and try again.")
