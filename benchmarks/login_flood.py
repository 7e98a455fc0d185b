"""Ten thousand wrong logins from ten thousand addresses, and the right user in between: who gets in, and how soon.

Real argon2id with the costs of the gateway, the whole way of a login but for the store. Attackers arrive at a steady
rate, all at the same account; the right user comes from an address where it has never been. Run as
``python -m benchmarks.login_flood [--json] [--wrong 10000] [--per-s 500] [--logins 20]``; exit status 1 when the bar
is missed.
"""

import argparse
import asyncio
import resource
import time
from dataclasses import dataclass, field

from pydantic import SecretStr

from benchmarks.report import Row, print_rows, spread
from zejzl_ray.clock import SystemClock
from zejzl_ray.commands.records import Records
from zejzl_ray.errors import RateLimited
from zejzl_ray.security.lockout import Lockout
from zejzl_ray.security.login import Login
from zejzl_ray.security.passwords import PasswordWorker
from zejzl_ray.security.user_record import UserRecord

MOST_RATIO = 5.0
GOOD, BAD = SecretStr("gravel-otter-lamp-77"), SecretStr("not the password")


@dataclass
class Logins:
    """How long logins of the right user took.

    Attributes:
        let_in_ms: from the attempt that was let in to its answer.
        overall_ms: from the first attempt, with the waits in between.
        attempts: of all logins together.
    """

    let_in_ms: list[float] = field(default_factory=list)
    overall_ms: list[float] = field(default_factory=list)
    attempts: int = 0

    def p95_ms(self) -> float:
        """Return the time that 95 of 100 logins that were let in stay within."""
        return sorted(self.let_in_ms)[int(len(self.let_in_ms) * 0.95 - 1e-9)]


async def log_in(entrance: Login, records: Records, address: str, into: Logins) -> None:
    """Log the right user in, coming back when told."""
    began_s = time.perf_counter()
    while True:
        tried_s = time.perf_counter()
        into.attempts += 1
        try:
            outcome = await entrance.attempt(records, "ada", GOOD, address)
        except RateLimited as error:
            await asyncio.sleep(error.retry_after_s)
            continue
        assert outcome.record is not None
        now_s = time.perf_counter()
        into.let_in_ms.append((now_s - tried_s) * 1000)
        into.overall_ms.append((now_s - began_s) * 1000)
        return


async def flood(entrance: Login, records: Records, count: int, per_s: float, networks: int) -> int:
    """Send wrong logins, each from an address of its own in so many networks; return how many were checked."""
    checked = 0

    async def wrong(number: int) -> None:
        nonlocal checked
        network = number % networks
        try:
            await entrance.attempt(
                records, "ada", BAD, f"{11 + (network >> 8)}.{network & 255}.7.{number // networks % 250}"
            )
            checked += 1
        except RateLimited:
            pass

    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            late_s = began_s + number / per_s - time.perf_counter()
            if late_s > 0:
                await asyncio.sleep(late_s)
            group.create_task(wrong(number))
    return checked


async def measure(wrong: int, per_s: float, logins: int) -> list[Row]:
    """Return the rows of the report."""
    rows = []
    worker = PasswordWorker(SystemClock())
    records = Records()
    stored = await worker.hash(GOOD)
    records.put("ada", UserRecord(user="ada", roles=("viewer",), created_at_s=1.0, password_hash=stored))
    quiet = Logins()
    await log_in(Login(worker, Lockout(), SystemClock()), records, "", Logins())
    before_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for row, networks in enumerate((40, wrong)):
        entrance = Login(worker, Lockout(), SystemClock())
        for number in range(logins):  # beside each flood, because a busy machine slows both
            await log_in(entrance, records, f"193.{number}.{row}.1", quiet)
        loaded = Logins()
        attack = asyncio.create_task(flood(entrance, records, wrong, per_s, networks))
        pause_s = wrong / per_s / (logins + 1)
        for number in range(logins):
            await asyncio.sleep(max(0.0, pause_s - (loaded.overall_ms[-1] / 1000 if number else 0.0)))
            await log_in(entrance, records, f"192.{number}.{row}.1", loaded)
        checked = await attack
        grown_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before_mib
        rows.append(
            Row(
                f"p95 of a login that was let in, flood from {networks} networks",
                "x",
                spread([loaded.p95_ms() / quiet.p95_ms()]),
                baseline=f"p95 without the flood, {quiet.p95_ms():.0f} ms",
                bar=MOST_RATIO,
                note=f"{loaded.p95_ms():.0f} ms; with coming back when told {max(loaded.overall_ms):.0f} ms at worst, "
                f"{loaded.attempts / logins:.2f} attempts a login; {checked} of {wrong} wrong ones hashed; "
                f"peak memory + {grown_mib:.0f} MiB",
            )
        )
    await worker.close()
    return rows


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--wrong", type=int, default=10_000)
    parser.add_argument("--per-s", type=float, default=500.0)
    parser.add_argument("--logins", type=int, default=20)
    options = parser.parse_args()
    rows = asyncio.run(measure(options.wrong, options.per_s, options.logins))
    return 0 if print_rows("A flood of wrong logins", rows, is_json=options.json) else 1


if __name__ == "__main__":
    raise SystemExit(main())
