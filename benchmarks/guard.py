"""What the check of a call costs in the core: the token that was seen before, and the whole guard with its rate limit.

Run as ``python -m benchmarks.guard [--json] [--pairs 20]``; exit status 1 when a bar is missed. Times are of the
processor, so that another program on the machine lengthens none. The baseline of the token check is one verification
of the same token by PyJWT with all its checks; what authentication and rate limit add to a call is compared with the
same call admitted by a guard that does nothing.
"""

import argparse
import asyncio
import base64
import gc
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.types import Options
from pydantic import SecretStr

from benchmarks.report import Row, interleaved_ratios, print_rows, spread
from zejzl_ray.auth.claims import Claims
from zejzl_ray.auth.guard import Guard
from zejzl_ray.auth.key_set import KeySet
from zejzl_ray.auth.observations import Observer
from zejzl_ray.auth.rate_limits import RateLimits
from zejzl_ray.auth.security_state import SecurityState
from zejzl_ray.auth.token_signing import sign_token
from zejzl_ray.auth.token_verifier import TokenVerifier
from zejzl_ray.auth.verified_tokens import VerifiedTokens
from zejzl_ray.clock import SystemClock
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext, Forwarded
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import OPERATIONS, GetAgent, Heartbeat, UpdateAgent
from zejzl_ray.contracts.policy import AddressPolicy, RatePolicy
from zejzl_ray.contracts.security_feed import FeedBatch, GuardLimits, Revocation
from zejzl_ray.contracts.tokens import PublicKey

SERVICE = "core_orchestrator"
CALLS, CHECKS, VERIFICATIONS = 3000, 5000, 200
SUBJECTS = 100
AUDIENCES = frozenset((SERVICE, "zejzl"))
PLENTY = RatePolicy(burst_per_s=1_000_000, sustained_per_min=60_000_000)
OPERATION = {operation.name: operation for operation in OPERATIONS}


class NoTrail:
    """An audit trail that keeps nothing; what a real one costs is measured with it."""

    def record(self, kind: str, **_: Any) -> None:
        """Take note of nothing."""

    def count_grant(self, subject: str, operation: str) -> None:
        """Count nothing."""


class Process:
    """A process that checks calls: 100 subjects with a token each, 1000 revocations, deny and allow lists."""

    def __init__(self) -> None:
        clock = SystemClock()
        self.key = Ed25519PrivateKey.generate()
        keys = KeySet(clock)
        state = SecurityState(clock, keys=keys)
        self.now_s = int(clock.now_s())
        raw = base64.urlsafe_b64encode(self.key.public_key().public_bytes_raw()).rstrip(b"=").decode()
        state.apply(
            FeedBatch(
                epoch=1,
                revision=1,
                at_s=self.now_s,
                is_whole=True,
                keys=(PublicKey(kid="k1", x=raw),),
                limits=GuardLimits(
                    rate=PLENTY,
                    address_rate=PLENTY,
                    addresses=AddressPolicy(
                        allow=("10.0.0.0/8", "fd00::/8"), deny=tuple(f"10.9.{n}.0/24" for n in range(50))
                    ),
                ),
                revocations=tuple(
                    Revocation(kind="session", value=f"gone{n}", until_s=self.now_s + 3600)
                    for n in range(1000)
                ),
            ),
            clock.now_s(),
        )
        self.tokens = VerifiedTokens(TokenVerifier(keys, clock), state.revocations, clock)
        self.guard = Guard(
            SERVICE, state, self.tokens, RateLimits(clock), NoTrail(), clock, observer=Observer(clock)
        )
        self.texts = [self.sign(f"agent:Agent{n}") for n in range(SUBJECTS)]
        proof = SecretStr(self.sign("service:ingress", ("zejzl:address:report",)))
        self.forwarded = Forwarded(address="10.0.0.5", proof=proof)

    def sign(self, subject: str, grants: tuple[str, ...] = ("*:*:read", "core_orchestrator:agents:*")) -> str:
        """Return a token of the usual size."""
        claims = Claims(
            subject, grants, "zejzl", "0123456789abcdef", f"t-{subject[-8:].replace(':', '-')}",
            self.now_s, self.now_s, self.now_s + 3600, "k1",
        )  # fmt: skip
        return sign_token(claims, self.key, issuer="zejzl")

    def check_seen(self) -> float:
        """Return the time of one check of a token seen before, seconds."""
        text, check = self.texts[0], self.tokens.check
        started = time.process_time()
        for _ in range(CHECKS):
            check(text, AUDIENCES)
        return (time.process_time() - started) / CHECKS

    def verify_by_library(self) -> float:
        """Return the time of one verification by PyJWT, seconds."""
        text, key = self.texts[0], self.key.public_key()
        options: Options = {"require": ["exp", "iat", "nbf", "iss", "aud", "sub", "jti"]}
        started = time.process_time()
        for _ in range(VERIFICATIONS):
            jwt.decode(text, key, algorithms=["EdDSA"], audience="zejzl", issuer="zejzl", options=options)
        return (time.process_time() - started) / VERIFICATIONS


Admit = Callable[[Operation, Contract, CallContext], Awaitable[CallContext]]


async def let_in(operation: Operation, request: Contract, call: CallContext) -> CallContext:
    """Admit everybody: what a service without a guard does."""
    return call


async def time_calls(
    admit: Admit, operation: Operation, request: Contract, calls: list[CallContext]
) -> float:
    """Return the processor time of one admission, seconds; each call arrives as a new object, as from a wire."""
    started = time.process_time()
    for turn in range(CALLS):
        await admit(operation, request, calls[turn])
    return (time.process_time() - started) / CALLS


def calls_of(process: Process, forwarded: Forwarded | None = None) -> list[CallContext]:
    """Return calls of all subjects in turn, each with a text of its own, as pickling makes them."""
    return [
        CallContext(
            token=SecretStr(process.texts[turn % SUBJECTS].encode().decode()),
            request_id=f"req-1-{turn}",
            forwarded=forwarded,
        )
        for turn in range(CALLS)
    ]


def measure_admission(
    process: Process, run: Callable[[Coroutine[Any, Any, float]], float], pairs: int
) -> list[Row]:
    """Measure what the guard adds to calls of some kinds."""
    name = "Agent7"
    kinds: list[tuple[str, Operation, Contract, Forwarded | None, float | None]] = [
        ("a read over a handle", OPERATION["get_agent"], GetAgent(name=name), None, 15.0),
        ("a heartbeat over a handle", OPERATION["heartbeat"], Heartbeat(name=name), None, 15.0),
        ("a write over a handle, audited", OPERATION["update_agent"], UpdateAgent(name=name), None, 15.0),
        ("a read through the ingress", OPERATION["get_agent"], GetAgent(name=name), process.forwarded, None),
    ]
    rows = []
    for kind, operation, request, forwarded, bar in kinds:
        calls = calls_of(process, forwarded)

        def timed(
            admit: Admit,
            operation: Operation = operation,
            request: Contract = request,
            calls: list[CallContext] = calls,
        ) -> float:
            return run(time_calls(admit, operation, request, calls))

        timed(process.guard.admit), timed(let_in)
        _, guarded, open_ones = interleaved_ratios(
            partial(timed, process.guard.admit), partial(timed, let_in), pairs
        )
        added_us = [(one - other) * 1e6 for one, other in zip(guarded, open_ones, strict=True)]
        rows.append(
            Row(
                name=f"authentication and rate limit add to {kind}",
                unit="us",
                values=spread(added_us),
                baseline="the same call past a guard that does nothing",
                bar=bar,
                note=f"{SUBJECTS} subjects in turn, tokens seen before",
            )
        )
    return rows


def measure_check(process: Process, pairs: int) -> Row:
    """Compare the check of a token seen before with a verification."""
    process.check_seen(), process.verify_by_library()
    ratios, seen, verified = interleaved_ratios(process.check_seen, process.verify_by_library, pairs)
    return Row(
        name="checking a token seen before",
        unit="x",
        values=spread(ratios),
        baseline="one PyJWT verification of the same token",
        bar=0.05,
        note=f"{spread(seen).median * 1e6:.2f} us, {spread(verified).median * 1e6:.0f} us by PyJWT",
    )


def main() -> int:
    """Run all and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    parser.add_argument("--pairs", type=int, default=20, help="interleaved pairs a row (default 20)")
    options = parser.parse_args()
    process = Process()
    gc.collect()
    gc.freeze()
    with asyncio.Runner() as runner:
        rows = [
            measure_check(process, options.pairs),
            *measure_admission(process, runner.run, options.pairs),
        ]
    return 0 if print_rows("guard", rows, is_json=options.json) else 1


if __name__ == "__main__":
    raise SystemExit(main())
