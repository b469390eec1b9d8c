"""The methods that the boxes of the setup describe."""

from __future__ import annotations

from typing import Any

import pytest

from asi_core.methods import METHODS
from asi_core.methods.registry import method_fields
from dashboard.setup import Setup


@pytest.mark.parametrize("changed", [{"sequential": False}, {"refresh_every": 4}])
def test_a_box_at_its_default_contradicts_no_other(changed: dict[str, Any]) -> None:
    """All boxes have a value; of these, only what was changed is given."""
    fields = method_fields()
    common = {
        name: field.start
        for name, (field, owners) in fields.items()
        if not any(name in method.alternatives for method in owners)
    }
    assert common["update"] == "when_needed"
    values = {**common, "ranks": 4, **changed}
    setup = Setup("mcunet_in1", "fashion_mnist_small", False, 4, 64, 96, tuple(values.items()))
    assert setup.method("asi").model_dump().items() >= {**changed, "update": "every_step"}.items()
    assert len(setup.methods()) == len(METHODS)
