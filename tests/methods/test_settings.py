from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from asi_core.errors import InvalidInput, one_sentence
from asi_core.methods import ASI, HOSVD, METHOD_ADAPTER, GradientFilter
from asi_core.methods.costs import capped_ranks
from asi_core.records import ConvGeometry, LayerShape

SHAPE = LayerShape(
    "conv",
    (4, 6, 9, 9),
    (4, 12, 9, 9),
    (12, 6, 3, 3),
    ConvGeometry((1, 1), (1,) * 4, (1, 1), 1),
    True,
)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"kind": "asi", "ranks": 0}, "rank must be at least 1, got 0"),
        ({"kind": "asi", "ranks": [4, -1, 2, 2]}, "rank must be at least 1, got -1"),
        ({"kind": "asi", "ranks": "-3"}, "rank must be at least 1, got -3"),
        ({"kind": "asi", "ranks": -3.0}, "rank must be at least 1, got -3"),
        ({"kind": "hosvd", "ranks": [0.0, 1, 1, 1]}, "rank must be at least 1, got 0"),
        ({"kind": "hosvd", "ranks": ["-1", 1, 1, 1]}, "rank must be at least 1, got -1"),
        ({"kind": "asi", "ranks": []}, "one number, or one per mode, got none"),
        ({"kind": "hosvd", "explained_variance": 1.5}, "at most 1, got 1.5"),
        ({"kind": "hosvd", "explained_variance": 0.0}, "above 0"),
        ({"kind": "asi"}, "exactly one of explained variance, rank, budget, got none of them"),
        (
            {"kind": "asi", "ranks": 2, "explained_variance": 0.5},
            "got explained variance and rank",
        ),
        (
            {"kind": "asi", "ranks": 2, "refresh_every": 0},
            "refresh interval must be at least 1, got 0",
        ),
        (
            {"kind": "gradient_filter", "patch": 0},
            "at least 1 and at most 4096, got 0",
        ),
    ],
)
def test_wrong_settings_are_reported_in_one_sentence(
    settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        METHOD_ADAPTER.validate_python(settings)
    sentence = one_sentence(caught.value)
    assert expected in sentence
    assert "\n" not in sentence


def test_ranks_are_capped_by_the_mode_and_by_all_others() -> None:
    assert capped_ranks(8, (4, 6, 9, 9)) == (4, 6, 8, 8)
    assert capped_ranks(100, (2, 500, 3, 3)) == (2, 18, 3, 3)
    assert capped_ranks(500, (2, 500, 3, 3)) == (2, 500, 3, 3), "unchanged, not cut to 18"
    assert capped_ranks((1, 2, 3, 4), (4, 6, 9, 9)) == (1, 2, 3, 4)
    with pytest.raises(InvalidInput, match="one number or 4 numbers"):
        capped_ranks((1, 2), (4, 6, 9, 9))


def test_ranks_from_an_explained_variance_need_data() -> None:
    with pytest.raises(InvalidInput, match="depend on the data"):
        ASI(explained_variance=0.8).ranks_for(SHAPE)
    assert HOSVD(ranks=5).ranks_for(SHAPE) == (4, 5, 5, 5)


def test_labels_distinguish_settings() -> None:
    assert ASI(ranks=(16, 32, 4, 4)).settings_label == "ASI, rank 16·32·4·4"
    every = ASI(ranks=4, refresh_every=3)
    assert every.settings_label == "ASI, rank 4, refreshed every 3 steps"
    assert HOSVD(explained_variance=0.8).settings_label == "HOSVD, 80 % variance"
    assert GradientFilter().settings_label == "Gradient filter, patch 2"
