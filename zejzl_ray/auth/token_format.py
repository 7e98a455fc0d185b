"""Reading the text of an access token, strictly and before any cryptography.

A token is a compact JWS of three flat parts, and there is one way only to write each. The text is read once and by
this module alone: what is checked here is what is verified, so no second reader can see something else in it.

Each rule is a function of its own named ``require_...``; ``tests/security`` turns them off one by one and shows for
each an attack that then gets through.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from zejzl_ray.errors import Unauthenticated

ALGORITHM: Final = "EdDSA"
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  a media type, not a secret
MAX_TOKEN_BYTES: Final = 8192
HEADER_FIELDS: Final = frozenset({"alg", "typ", "kid"})
PART_COUNT: Final = 3
MAX_BRACKETS: Final = 16

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class TokenParts:
    """A token that is well-formed; nothing of it is proved yet.

    Attributes:
        key_id: which key is said to have signed it.
        claims: the fields as they stand in the token, not checked.
        signed: the bytes that the signature is over.
        signature: its bytes.
    """

    key_id: str
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def parse_token(token: str) -> TokenParts:
    """Take a token apart.

    Raises:
        Unauthenticated: it is no token as the gateway writes them; one text for every reason.
    """
    require_text(token)
    require_size(token)
    parts = token.split(".")
    require_three_parts(parts)
    header = _fields(_bytes(parts[0]))
    require_header_fields(header)
    require_algorithm(header)
    require_type(header)
    require_key_id(header)
    claims = _fields(_bytes(parts[1]))
    signature = _bytes(parts[2])
    return TokenParts(header["kid"], claims, f"{parts[0]}.{parts[1]}".encode("ascii"), signature)


def malformed() -> Unauthenticated:
    """Return the one error for a text that is no token; it never says which rule was broken."""
    return Unauthenticated(
        "The access token is malformed.", "Send the whole token as it was issued, and nothing beside it."
    )


def is_identifier(value: object) -> bool:
    """Whether the value may stand as ``kid``, ``jti`` or ``sid``: 1 to 64 letters, digits, hyphens, underscores."""
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def require_text(token: object) -> None:
    """Refuse what is not text."""
    if not isinstance(token, str):
        raise malformed()


def require_size(token: str) -> None:
    """Refuse a token that is longer than 8192 characters; a character of a valid one is one byte."""
    if len(token) > MAX_TOKEN_BYTES:
        raise malformed()


def require_three_parts(parts: Sequence[str]) -> None:
    """Refuse everything but header, claims and signature."""
    if len(parts) != PART_COUNT:
        raise malformed()


def require_canonical(part: bytes, decoded: bytes) -> None:
    """Refuse other ways of writing the same bytes: padding, other alphabets, unused bits that are set."""
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part:
        raise malformed()


def require_utf8(raw: bytes) -> str:
    """Return the text of a part; a JSON parser that is given the bytes would guess other encodings too."""
    try:
        return raw.decode("utf-8")
    except ValueError:
        raise malformed() from None


def require_shallow(text: str) -> None:
    """Refuse what a JSON parser could recurse into deeply; a valid part has one bracket that opens."""
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise malformed()


def require_object(value: object) -> None:
    """Refuse JSON that is no object."""
    if not isinstance(value, dict):
        raise malformed()


def require_unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of an object; refuse one that names a field twice."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise malformed()
    return fields


def require_header_fields(header: Mapping[str, Any]) -> None:
    """Refuse fields beside the three: keys and places of keys in the token, critical extensions, compression."""
    if header.keys() != HEADER_FIELDS:
        raise malformed()


def require_algorithm(header: Mapping[str, Any]) -> None:
    """Refuse every algorithm but the one; what verifies never looks at this field."""
    if header["alg"] != ALGORITHM:
        raise malformed()


def require_type(header: Mapping[str, Any]) -> None:
    """Refuse tokens that were made for something else, such as an identity token."""
    if header["typ"] != TOKEN_TYPE:
        raise malformed()


def require_key_id(header: Mapping[str, Any]) -> None:
    """Refuse key ids that no key can have, so that none of them is ever looked for."""
    if not is_identifier(header["kid"]):
        raise malformed()


def _bytes(part: str) -> bytes:
    try:
        encoded = part.encode("ascii")
        # the decoder takes too much padding and skips strange characters; what it took is compared below
        decoded = base64.urlsafe_b64decode(encoded + b"==")
    except ValueError:
        raise malformed() from None
    require_canonical(encoded, decoded)
    return decoded


def _fields(raw: bytes) -> dict[str, Any]:
    text = require_utf8(raw)
    require_shallow(text)
    try:
        fields = json.loads(text, object_pairs_hook=require_unique_fields)
    except ValueError:
        raise malformed() from None
    require_object(fields)
    return cast("dict[str, Any]", fields)
