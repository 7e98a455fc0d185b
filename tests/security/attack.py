"""An attack as data: what it changes of a valid token or of the world, and which check stops it."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.security_feed import Revocation

CORPUS = Path(__file__).parent / "corpus"


class ByHmac(Contract):
    """Signed with HMAC; the secret is the public key, written in one of these ways, or nothing."""

    hmac: Literal["pem", "raw", "base64url", "jwk", "empty"]


class Text(Contract):
    """What is done to the text of a token after it was signed."""

    append: str = ""
    append_to_signature: int = 0
    append_byte: bool = False
    insert_in_signature: str = ""
    cut_signature: int | None = Field(default=None, description="characters that are left")
    zero_signature: bool = False
    header_as_signature: bool = False
    flip_signature_bit: int | None = None
    set_unused_bit: bool = False
    add_group_order: bool = False
    small_order_signature: bool = False
    standard_alphabet: bool = False
    decode_claims: bool = False
    parts: int | None = None
    as_bytes: bool = False


class Change(Contract):
    """The one thing that differs from a valid token, or from the world in which it is valid.

    ``raw_...`` puts JSON in as it stands; ``append_...`` and ``prepend_...`` put a further field behind or before the
    others; ``times`` are seconds from now; ``keys`` are those that are left, ``a=b`` meaning key b under the id a.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True)

    header: dict[str, Any] = Field(default_factory=dict)
    claims: dict[str, Any] = Field(default_factory=dict)
    drop_header: tuple[str, ...] = ()
    drop_claims: tuple[str, ...] = ()
    times: dict[str, int] = Field(default_factory=dict)
    raw_header: dict[str, str] = Field(default_factory=dict)
    raw_claims: dict[str, str] = Field(default_factory=dict)
    append_claims: str = ""
    prepend_claims: str = ""
    prepend_header: str = ""
    nested_header: int = 0
    nested_claims: int = 0
    many_scopes: int = 0
    claims_text: str | None = None
    encoding: str = "utf-8"
    sign: (
        Literal["key-1", "key-2", "key-3", "attacker", "ecdsa", "ed448", "nothing", "unchanged"] | ByHmac
    ) = "key-1"
    text: Text = Text()

    used_before: bool = False
    wait_s: int = 0
    audiences: tuple[str, ...] | None = None
    keys: tuple[str, ...] | None = None
    revoke: dict[str, Any] | None = None

    def revocation(self) -> Revocation | None:
        """What is revoked before the attack."""
        return Revocation(**self.revoke, until_s=2e9) if self.revoke is not None else None


class Attack(Contract):
    """One file of the corpus; its folder is the class of the attack.

    ``stopped_by`` names all checks that stop it, each alone; empty where a text cannot be read at all, so that no
    check could let it through. ``otherwise`` says what happens when they are all off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True)

    group: str
    name: str
    rule: str = Field(
        min_length=8, description="what it breaks: of RFC 8725, its successor, or what they build on"
    )
    what: str = Field(min_length=4, description="what the attacker does")
    change: Change
    stopped_by: tuple[str, ...]
    refused_as: Literal["Unauthenticated", "UnknownKey", "TokenExpired", "TokenRevoked"] = "Unauthenticated"
    otherwise: str = "accepted"

    @property
    def title(self) -> str:
        """Class and name."""
        return f"{self.group}/{self.name}"


@cache
def corpus() -> tuple[Attack, ...]:
    """Return all attacks in the order of their classes and names."""
    return tuple(
        Attack(group=file.parent.name, name=file.stem, **yaml.safe_load(file.read_text(encoding="utf-8")))
        for file in sorted(CORPUS.glob("*/*.yaml"))
    )
