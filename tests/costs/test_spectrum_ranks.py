from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asi_core.costs.spectrum_ranks import ranks_of_spectra
from asi_core.errors import InvalidInput
from asi_core.linalg.spectra import rank_for_energy

VALUES = st.lists(st.floats(0, 1e3), min_size=1, max_size=30).map(lambda v: sorted(v, reverse=True))


@given(VALUES, st.floats(0.01, 1))
def test_the_same_rank_as_on_tensors(values: list[float], share: float) -> None:
    (found,) = ranks_of_spectra([values], share)
    tensor = torch.tensor(values, dtype=torch.float64)
    energy = tensor.square().cumsum(0)
    # Sums in another order may differ in the last digit, right at the limit.
    if ((energy - share * energy[-1]).abs() > 1e-9 * energy[-1]).all() or share == 1:
        assert found == rank_for_energy(tensor, share)


def test_ranks_by_hand() -> None:
    assert ranks_of_spectra([[2, 1, 1], [3, 0]], 4 / 6) == (1, 1)
    assert ranks_of_spectra([[2, 1, 1], [3, 0]], 0.7) == (2, 1)
    assert ranks_of_spectra([[2, 1, 1], [0, 0]], 1) == (3, 1)


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_an_invalid_share_is_refused(share: float) -> None:
    with pytest.raises(InvalidInput, match="explained variance must be above 0 and at most 1"):
        ranks_of_spectra([[1.0]], share)
