"""Making tokens by hand, so that every wrong one can be made; shares no code with what verifies them."""

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.security.attack import ByHmac, Change, Text

# order of the group of Ed25519, RFC 8032 section 5.1
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
SIGNER = "key-1"

Keys = Callable[[str], Ed25519PrivateKey]


def forge(change: Change, now_s: int, keys: Keys) -> str:
    """Return the text of a token; a valid one for the empty change."""
    signed = f"{encode(header_text(change).encode())}.{encode(claims_bytes(change, now_s))}"
    if change.sign == "unchanged":
        unchanged = forge(Change(), now_s, keys)
        signature = decode(unchanged.rpartition(".")[2])
    else:
        signature = signature_of(signed.encode(), change, keys)
    return edit(signed, signature, change.text)


def header_text(change: Change) -> str:
    """Return the header as JSON."""
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": SIGNER} | change.header
    fields = {name: json.dumps(value) for name, value in header.items() if name not in change.drop_header}
    fields |= change.raw_header
    if change.nested_header:
        fields["x"] = nested(change.nested_header)
    return written(fields, prepend=change.prepend_header)


def claims_bytes(change: Change, now_s: int) -> bytes:
    """Return the claims as JSON in the encoding that is asked for."""
    if change.claims_text is not None:
        return change.claims_text.encode()
    times = {"iat": 0, "nbf": 0, "exp": 900} | change.times
    claims: dict[str, Any] = {
        "iss": "zejzl",
        "aud": "core_orchestrator",
        "sub": "user:ada",
        "jti": "token-1",
        "sid": "session-1",
        "scope": "core_orchestrator:agents:read *:machines:read",
    }
    claims |= {name: now_s + offset for name, offset in times.items()}
    claims |= change.claims
    if change.many_scopes:
        claims["scope"] = " ".join(f"core_orchestrator:agents_{n}:read" for n in range(change.many_scopes))
    fields = {name: json.dumps(value) for name, value in claims.items() if name not in change.drop_claims}
    fields |= change.raw_claims
    if change.nested_claims:
        fields["x"] = nested(change.nested_claims)
    return written(fields, append=change.append_claims, prepend=change.prepend_claims).encode(change.encoding)


def written(fields: Mapping[str, str], *, append: str = "", prepend: str = "") -> str:
    """Return an object of fields that are JSON already."""
    members = [prepend, *(f'"{name}":{value}' for name, value in fields.items()), append]
    return "{" + ",".join(member for member in members if member) + "}"


def nested(depth: int) -> str:
    """Return arrays within one another."""
    return "[" * depth + "]" * depth


def signature_of(signed: bytes, change: Change, keys: Keys) -> bytes:
    """Return the signature by whoever the change says."""
    match change.sign:
        case "nothing":
            return b""
        case ByHmac(hmac=form):
            digest = {"HS384": "sha384", "HS512": "sha512"}.get(change.header.get("alg", ""), "sha256")
            return hmac.digest(secrets_of(keys(SIGNER).public_key())[form], signed, digest)
        case "ecdsa":
            return ec.generate_private_key(ec.SECP256R1()).sign(signed, ec.ECDSA(hashes.SHA256()))
        case "ed448":
            return Ed448PrivateKey.generate().sign(signed)
        case name:
            return keys(cast("str", name)).sign(signed)


def secrets_of(key: Ed25519PublicKey) -> dict[str, bytes]:
    """Return the ways in which a verifier may hold a public key, and might take it for a secret."""
    raw = key.public_bytes_raw()
    x = encode(raw)
    return {
        "pem": key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "raw": raw,
        "base64url": x.encode(),
        "jwk": json.dumps({"kty": "OKP", "crv": "Ed25519", "x": x}).encode(),
        "empty": b"",
    }


def edit(signed: str, signature: bytes, text: Text) -> str:
    """Put the token together and change its text."""
    if text.zero_signature:
        signature = bytes(len(signature))
    if text.append_byte:
        signature += b"\0"
    if text.flip_signature_bit is not None:
        place, bit = divmod(text.flip_signature_bit, 8)
        signature = signature[:place] + bytes([signature[place] ^ 1 << bit]) + signature[place + 1 :]
    if text.add_group_order:
        number = int.from_bytes(signature[32:], "little") + GROUP_ORDER
        signature = signature[:32] + number.to_bytes(32, "little")
    if text.small_order_signature:
        signature = (1).to_bytes(32, "little") + bytes(32)
    last = encode(signature)
    if text.cut_signature is not None:
        last = last[: text.cut_signature]
    if text.header_as_signature:
        last = signed.partition(".")[0]
    if text.set_unused_bit:
        last = last[:-1] + chr(ord(last[-1]) + 1)
    if text.standard_alphabet:
        last = last.replace("-", "+").replace("_", "/")
    middle = len(last) // 2
    last = last[:middle] + text.insert_in_signature + last[middle:] + "A" * text.append_to_signature
    if text.decode_claims:
        header, _, claims = signed.partition(".")
        signed = f"{header}.{decode(claims).decode()}"
    token = f"{signed}.{last}{text.append}"
    if text.parts is not None:
        token = ".".join(token.split(".")[: text.parts])
    # a caller in Python can hand over anything, whatever the types say
    return cast("str", token.encode()) if text.as_bytes else token


def encode(raw: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(text: str) -> bytes:
    """Return what base64url without padding stands for."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
