"""Write asi_core/facts/torchvision_models.json: names of torchvision's classification networks.

python scripts/make_torchvision_list.py
"""

from __future__ import annotations

import json
from pathlib import Path

from torchvision import models

TARGET = Path(__file__).resolve().parents[1] / "asi_core" / "facts" / "torchvision_models.json"


def main() -> None:
    """Write the file anew."""
    TARGET.write_text(json.dumps(models.list_models(module=models), indent=0) + "\n")


if __name__ == "__main__":
    main()
