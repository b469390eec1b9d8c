"""The contract of all registered methods."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from asi_core.methods import METHODS, GradientFilter, Method, Vanilla
from asi_core.testing import CHECKS, Arithmetic
from asi_core.testing.methods import exact_gradients_are_vanillas, formula_is_what_is_measured


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", sorted(METHODS))
def test_every_method_keeps_the_contract(kind: str, check: Callable[[Method], None]) -> None:
    for example in METHODS[kind].examples():
        check(example)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", sorted(METHODS))
def test_half_precisions_keep_half_and_round_no_more_than_pytorch(
    kind: str, dtype: torch.dtype
) -> None:
    for example in METHODS[kind].examples():
        for check in (exact_gradients_are_vanillas, formula_is_what_is_measured):
            check(example, Arithmetic(torch.device("cpu"), dtype))


class Careless(Vanilla):
    """Claims to be exact and to keep everything, but returns half of the gradient."""

    def weight_gradient(self, *arguments):  # type: ignore[no-untyped-def]
        return super().weight_gradient(*arguments) / 2

    replaces_layers = True


class Miscounted(GradientFilter):
    """Keeps what the gradient filter keeps, but its formula returns one byte less."""

    def saved_bytes(self, *arguments):  # type: ignore[no-untyped-def]
        return super().saved_bytes(*arguments) - 1


@pytest.mark.parametrize(
    ("check", "wrong"),
    [(exact_gradients_are_vanillas, Careless()), (formula_is_what_is_measured, Miscounted())],
)
def test_what_breaks_the_contract_is_found(check: Callable[[Method], None], wrong: Method) -> None:
    with pytest.raises(AssertionError):
        check(wrong)
