"""Specifications of before ASI's factors were updated when needed by default."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asi_core import Compression
from asi_core.methods import ASI
from asi_core.training.earlier import spec_before_updates

ASKED = {"kind": "asi", "ranks": 4}
MEANT = {"update": "every_step", **ASKED}


def test_a_run_and_the_layers_of_an_own_network_mean_every_step() -> None:
    layers = [{"name": "a", "method": ASKED}, {"name": "b", "method": None}, {"name": "c"}]
    found = spec_before_updates({"method": ASKED, "own_layers": layers, "steps": 3})
    expected = [{"name": "a", "method": MEANT}, *layers[1:]]
    assert found == {"method": MEANT, "own_layers": expected, "steps": 3}
    assert layers[0]["method"] == ASKED, "what was read is not changed"


@pytest.mark.parametrize("method", [{"kind": "hosvd", "ranks": 4}, {"kind": "unknown"}])
def test_other_methods_stay_as_they_are(method: dict[str, Any]) -> None:
    assert spec_before_updates({"method": method}) == {"method": method}


def test_an_update_that_is_written_is_kept() -> None:
    given = {"method": {**ASKED, "update": "when_needed"}}
    assert spec_before_updates(given) == given


@pytest.mark.parametrize("given", [None, 1, [], {}, {"method": 1}, {"own_layers": 1}])
def test_what_is_no_specification_is_left_for_its_reader_to_refuse(given: Any) -> None:
    assert spec_before_updates(given) == given


def test_a_configuration_means_every_step_for_its_layers_too() -> None:
    written = json.loads(
        Compression("asi", ranks=4, layers=2, per_layer={"head": {"ranks": 2}}).to_json()
    )
    for method in (written["method"], *written["per_layer"].values()):
        del method["update"]
    found = Compression.from_json(json.dumps(written))
    assert found.method == ASI(ranks=4, update="every_step")
    assert found.per_layer == {"head": ASI(ranks=2, update="every_step")}
