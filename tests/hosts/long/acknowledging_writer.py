"""A client that registers agents all the time and writes down each that was acknowledged. Runs on a test host.

Run: ``python acknowledging_writer.py FILE``, with the Python of a release. Ends when it is killed.
"""

import sys
import time
from pathlib import Path

from zejzl_ray import connect
from zejzl_ray.errors import ZejzlError


def write_for_ever(path: Path) -> None:
    """Register agents until the process is killed; the name of each that was acknowledged is one line."""
    number = 0
    with path.open("a", buffering=1) as file:
        while True:
            try:
                with connect() as client:
                    while True:
                        number += 1
                        name = f"Acknowledged{number}"
                        client.register(name, port=5599, kind="actor", lease_s=3600)
                        file.write(f"{name}\n")
                        time.sleep(0.02)
            except (ZejzlError, OSError):
                time.sleep(0.2)  # it may have been done or not: the next one has another name


if __name__ == "__main__":
    write_for_ever(Path(sys.argv[1]))
