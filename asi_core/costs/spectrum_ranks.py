"""Ranks from known singular values, without tensors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from asi_core.errors import InvalidInput
from asi_core.records import Ranks


def ranks_of_spectra(spectra: Sequence[Sequence[float]], explained_variance: float) -> Ranks:
    """Per mode, the smallest rank whose squared singular values reach the share of their sum.

    The same rule as `linalg.spectra.rank_for_energy`, on plain numbers.

    Args:
        spectra: descending singular values, one row per mode.

    Raises:
        InvalidInput: if the share is not above 0 and at most 1.
    """
    if not 0 < explained_variance <= 1:
        raise InvalidInput(
            "explained variance must be above 0 and at most 1", explained_variance, "try 0.8"
        )
    return tuple(_rank(values, explained_variance) for values in spectra)


def _rank(values: Sequence[float], explained_variance: float) -> int:
    sums = list(accumulate(value * value for value in values))
    if not sums or sums[-1] <= 0:
        return 1
    least = explained_variance * sums[-1]
    return next(rank for rank, reached in enumerate(sums, start=1) if reached >= least)
