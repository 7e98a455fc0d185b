"""What it costs to check a token: one that was seen before, and a new one.

Run as ``python -m benchmarks.token_check [--json] [--pairs 20]``; exit status 1 when the bar is missed.
"""

import argparse
import gc
import time
from collections.abc import Callable
from functools import partial

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.utils import base64url_encode

from benchmarks.report import Row, interleaved_ratios, print_rows, spread
from zejzl_ray.auth.claims import Claims
from zejzl_ray.auth.grant_book import GrantBook
from zejzl_ray.auth.key_set import KeySet
from zejzl_ray.auth.security_state import SecurityState
from zejzl_ray.auth.token_signing import sign_token
from zejzl_ray.auth.token_verifier import TokenVerifier
from zejzl_ray.auth.verified_tokens import VerifiedTokens
from zejzl_ray.clock import SystemClock
from zejzl_ray.contracts.security_feed import Revocation
from zejzl_ray.contracts.tokens import PublicKey

REVOKED = 10_000
OFTEN = 2_000
SCOPE = "resource_manager:leases:write"
GRANTS = ("core_orchestrator:agents:read", "core_orchestrator:agents:write", "*:machines:read", SCOPE)
AUDIENCES = frozenset({"zejzl", "resource_manager"})


class Bench:
    """A verifier as a service has it, and a token that it accepts."""

    def __init__(self) -> None:
        clock = SystemClock()
        private_key = Ed25519PrivateKey.generate()
        self.public_key = private_key.public_key()
        now_s = int(clock.now_s())
        self.token = sign_token(
            Claims(
                subject="agent:MemoryHub",
                grants=GRANTS,
                audience="zejzl",
                session="0123456789abcdef",
                token_id="0123456789abcdef0123456789abcdef",
                issued_at_s=now_s,
                not_before_s=now_s,
                expires_at_s=now_s + 3600,
                key_id="key-1",
            ),
            private_key,
        )
        keys = KeySet(clock)
        x = base64url_encode(self.public_key.public_bytes_raw()).decode()
        keys.replace([PublicKey(kid="key-1", x=x)])
        state = SecurityState(clock, keys=keys)
        self.revocations = state.revocations
        self.revocations.replace(
            Revocation(kind="token", value=f"revoked-{number}", until_s=now_s + 3600)
            for number in range(REVOKED)
        )
        self.verifier = TokenVerifier(keys, clock)
        self.tokens = VerifiedTokens(self.verifier, self.revocations, clock)
        self.book = GrantBook(state)

    def check(self, token: str) -> bool:
        """Do all that a guard does for a token: signature, times, audience, revocation, scope."""
        return self.book.proved(token, self.tokens.check(token, AUDIENCES)).allows(SCOPE)

    def check_after_news(self, token: str) -> bool:
        """Likewise, when the revocations have changed since the last check."""
        self.revocations.add(())
        return self.check(token)

    def check_by_library(self, token: str) -> bool:
        """Verify as PyJWT does by itself."""
        claims = jwt.decode(token, self.public_key, algorithms=["EdDSA"], audience="zejzl", issuer="zejzl")
        return bool(claims)

    def timed(self, check: Callable[[str], bool]) -> float:
        """Return the time of one check, seconds; every text is a new object, as in a call that has just come in."""
        encoded = self.token.encode()
        texts = [encoded.decode() for _ in range(OFTEN)]
        started = time.perf_counter()
        for text in texts:
            check(text)
        return (time.perf_counter() - started) / OFTEN


def measure(pairs: int) -> list[Row]:
    """Compare each way of checking with one verification by the library."""
    bench = Bench()
    assert bench.check(bench.token)
    baseline = partial(bench.timed, bench.check_by_library)
    ways: list[tuple[str, Callable[[str], bool], float | None]] = [
        ("token seen before: signature, times, audience, revocation, scope", bench.check, 1 / 20),
        ("token seen before, revocations changed since", bench.check_after_news, 1 / 20),
        ("token seen for the first time", lambda token: bool(bench.verifier.verify(token)), None),
    ]
    gc.collect()
    gc.freeze()
    rows = []
    for name, check, bar in ways:
        timed = partial(bench.timed, check)
        timed(), baseline()
        ratios, of_check, of_library = interleaved_ratios(timed, baseline, pairs)
        rows.append(
            Row(
                name=f"{name}, {REVOKED} revocations",
                unit="x",
                values=spread(ratios),
                baseline="one PyJWT verification of the same token",
                bar=bar,
                note=f"{spread(of_check).median * 1e6:.2f} us, {spread(of_library).median * 1e6:.0f} us the library",
            )
        )
    gc.unfreeze()
    return rows


def main() -> int:
    """Run all and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    parser.add_argument("--pairs", type=int, default=20, help="interleaved pairs a row (default 20)")
    options = parser.parse_args()
    return 0 if print_rows("checking a token", measure(options.pairs), is_json=options.json) else 1


if __name__ == "__main__":
    raise SystemExit(main())
