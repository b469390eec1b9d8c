"""Making a card in a process of its own, which has limited memory and time.

For configurations that strangers hand in. The caller imports neither torch nor transformers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import asi_core
from asi_core import errors
from asi_core.errors import AsiError, Unsupported
from asi_core.units import GIB

# A decoder of a billion parameters takes seconds and half a gigabyte.
_SECONDS, _MEMORY_BYTES = 120, 4 * GIB
_ONE_AT_A_TIME = threading.Lock()


def made_apart(name: str) -> dict[str, Any]:
    """`making.made_facts` of a network.

    Raises:
        AsiError: as `made_facts`, or if it takes too much memory or time.
    """
    place = str(Path(asi_core.__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, (place, os.environ.get("PYTHONPATH", ""))))
    try:
        with _ONE_AT_A_TIME:
            # A fixed program, and a name that no shell reads.
            done = subprocess.run(  # noqa: S603
                [sys.executable, "-m", __name__, name],
                env={**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SECONDS,
                check=False,
            )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        raise Unsupported(
            f"the layers of {name} cannot be found within {_SECONDS} seconds and "
            f"{_MEMORY_BYTES // GIB} GiB of memory."
        ) from None
    if "error" in answer:
        raise _as_it_was(answer)
    return answer


def _as_it_was(answer: dict[str, Any]) -> AsiError:
    """The error of the other process, of the same type."""
    kind = getattr(errors, answer["error"])
    found: AsiError = kind.__new__(kind)
    found.args = (answer["message"],)
    return found


def _limit_memory() -> None:
    # Windows has no such module, and some systems no such limit.
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))


def main(name: str) -> None:
    """Print the facts about a network, or why there are none, as JSON."""
    _limit_memory()
    # What libraries print is no part of the answer.
    answer, sys.stdout = sys.stdout, sys.stderr
    try:
        from asi_core.zoo.making import made_facts

        found = made_facts(name)
    except AsiError as error:
        found = {"error": type(error).__name__, "message": str(error)}
    json.dump(found, answer)


if __name__ == "__main__":
    main(sys.argv[1])
