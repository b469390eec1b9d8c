"""Ensure that a PostgreSQL for the tests is available, or explain why they are skipped.

Tries in order: the server of ASI_TEST_POSTGRES_URL, installed binaries, Debian's package (as
root). Without any, the tests of that store are skipped, unless ASI_REQUIRE_POSTGRES is set.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.postgres import find_postgres

_PACKAGE = ["apt-get", "install", "--yes", "--no-install-recommends", "postgresql"]


def main() -> int:
    if os.environ.get("ASI_TEST_POSTGRES_URL"):
        print("PostgreSQL: the server of ASI_TEST_POSTGRES_URL")
        return 0
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    for command in [["apt-get", "update"], _PACKAGE] if is_root else []:
        if find_postgres():
            break
        print("No PostgreSQL yet, trying:", " ".join(command), flush=True)
        try:
            subprocess.run(command, check=False, timeout=600, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired) as error:
            print(error)
    if found := find_postgres():
        print("PostgreSQL:", found)
        return 0
    print("No PostgreSQL: install it, or set ASI_TEST_POSTGRES_URL; its tests are skipped.")
    return int("ASI_REQUIRE_POSTGRES" in os.environ)


if __name__ == "__main__":
    raise SystemExit(main())
