"""Ensure that a Chromium for the browser tests is available, or explain how to install one.

Tries in order: an installed one, Playwright's download, Debian's package (as root).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser.chromium import find_chromium

ATTEMPTS = [[sys.executable, "-m", "playwright", "install", "chromium"]]
if hasattr(os, "geteuid") and os.geteuid() == 0:
    ATTEMPTS += [["apt-get", "update"], ["apt-get", "install", "--yes", "chromium"]]


def main() -> int:
    for command in ATTEMPTS:
        if find_chromium():
            break
        print("No Chromium yet, trying:", " ".join(command), flush=True)
        try:
            subprocess.run(command, check=False, timeout=600, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired) as error:
            print(error)
    found = find_chromium()
    if not found:
        print("The browser tests need Chromium: install it, or set ASI_CHROMIUM to its path.")
        return 1
    print("Browser:", found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
