"""Verifiers with one check turned off, each as somebody could have written it."""

import hmac
import inspect
import json
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.security.forge import SIGNER, decode, secrets_of
from tests.security.world import private_key
from zejzl_ray.auth import token_checks, token_format, token_verifier, verified_tokens
from zejzl_ray.auth.key_set import KeySet
from zejzl_ray.auth.token_format import TokenParts

MODULES: tuple[ModuleType, ...] = (token_format, token_checks, token_verifier, verified_tokens)
DIGESTS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


def checks() -> dict[str, ModuleType]:
    """Return the name of every check and the module that holds it."""
    return {
        name: module
        for module in MODULES
        for name, value in vars(module).items()
        if name.startswith("require_") and inspect.isfunction(value) and value.__module__ == module.__name__
    }


def turn_off(patch: pytest.MonkeyPatch, names: Iterable[str]) -> None:
    """Turn checks off.

    One that only refuses does nothing then; one that also returns something returns it without refusing. Where the
    signature is not all that is off, it is believed as the header says, so that a case shows that it is a real attack
    and not just any text.
    """
    off = set(names)
    for name in off:
        mutant = MUTANTS.get(name, _let_through)
        if name == "require_signature" and off & BELIEVING:
            mutant = _believe_the_header
        patch.setattr(checks()[name], name, mutant)


# checks beside which a signature is believed as the header says
BELIEVING = {"require_algorithm", "require_header_fields", "require_known_key"}


def _let_through(*_: Any) -> None:
    pass


def _guess_encoding(raw: bytes) -> str:
    return raw.decode(json.detect_encoding(raw), "surrogatepass")


def _any_key(keys: KeySet, kid: str) -> Ed25519PublicKey:
    """A verifier that keeps its keys for ever and falls back to the usual one."""
    found = keys.find(kid)
    if found is not None:
        return found
    return private_key(kid if kid.startswith("key-3") or kid == "attacker" else SIGNER).public_key()


def _believe_the_header(parts: TokenParts, key: Ed25519PublicKey) -> None:
    """A verifier that takes algorithm and key from the token itself."""
    header = json.loads(decode(parts.signed.decode().partition(".")[0]))
    algorithm = str(header.get("alg", "")).strip().lower()
    if algorithm == "none" or algorithm.startswith("es"):
        return
    digest = DIGESTS.get(algorithm.upper())
    if digest is not None:
        secrets = secrets_of(key).values()
        if not any(
            hmac.compare_digest(hmac.digest(secret, parts.signed, digest), parts.signature)
            for secret in secrets
        ):
            raise token_checks.not_accepted()
        return
    if {"jwk", "jku", "x5u", "x5c"} & header.keys():
        key = private_key("attacker").public_key()
    try:
        key.verify(parts.signature, parts.signed)
    except InvalidSignature:
        raise token_checks.not_accepted() from None


MUTANTS: dict[str, Callable[..., Any]] = {
    "require_unique_fields": dict,
    "require_utf8": _guess_encoding,
    "require_known_key": _any_key,
}
