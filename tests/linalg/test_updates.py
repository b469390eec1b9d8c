"""Forms that read the input once, against dense products in double precision."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from asi_core.linalg.orders import late_parts, part_count, part_of_batch
from asi_core.linalg.spectra import captured_energy
from asi_core.linalg.tucker import hosvd, reconstruct
from asi_core.linalg.unfolding import random_orthonormal, unfold
from asi_core.linalg.updates import batch_last_tucker, captured_share, late_tucker
from tests.linalg.test_tucker import decaying

RANKS = (3, 4, 2, 3)


def start_for(tensor: Tensor, ranks: tuple[int, ...] = RANKS) -> list[Tensor | None]:
    pairs = enumerate(zip(tensor.shape, ranks, strict=True))
    return [random_orthonormal(size, rank, seed=m, like=tensor) for m, (size, rank) in pairs]


def projector(basis: Tensor | None) -> Tensor:
    assert basis is not None
    return basis @ basis.T


def in_layout(tensor: Tensor, layout: torch.memory_format) -> Tensor:
    return tensor.contiguous(memory_format=layout)


LAYOUTS = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])


@LAYOUTS
@pytest.mark.parametrize("turn", [0, 1, 3, 6])
def test_the_late_mode_is_projected_on_its_start_and_iterated_on_a_part(
    turn: int, layout: torch.memory_format
) -> None:
    tensor = in_layout(decaying((8, 12, 5, 6)), layout)
    start = start_for(tensor)
    tucker, following = late_tucker(tensor, start, 1, iterations=(1, 0, 1, 1), turn=turn)
    assert tucker.factors[1] is start[1]
    begin = 2 * (turn % 4)
    part = unfold(tensor[begin : begin + 2], 1)
    expected = torch.linalg.qr(part @ (part.T @ start[1]))[0]
    torch.testing.assert_close(projector(following), projector(expected))
    b, c, h, w = tucker.factors
    core = torch.einsum("bchw,bi,cj,hk,wl->ijkl", tensor, b, c, h, w)
    torch.testing.assert_close(tucker.core, core)


@LAYOUTS
def test_steps_on_similar_batches_reach_the_energy_of_hosvd(layout: torch.memory_format) -> None:
    tensor = in_layout(decaying((8, 12, 5, 6)), layout)
    start = start_for(tensor)
    for turn in range(24):
        tucker, following = late_tucker(tensor, start, 1, iterations=(1, 0, 1, 1), turn=turn)
        start = [following if mode == 1 else f for mode, f in enumerate(tucker.factors)]
    best = captured_energy(tensor, hosvd(tensor, ranks=RANKS).factors)
    assert captured_energy(tensor, tucker.factors) > best - 0.02


@LAYOUTS
def test_modes_that_are_not_iterated_are_only_projected(layout: torch.memory_format) -> None:
    tensor = in_layout(decaying((8, 12, 5, 6)), layout)
    start = start_for(tensor)
    tucker, projected = batch_last_tucker(tensor, start, iterations=(1, 0, 0, 0))
    for mode in (1, 2, 3):
        assert tucker.factors[mode] is start[mode]
    torch.testing.assert_close(projected, torch.einsum("bchw,cj,hk,wl->bjkl", tensor, *start[1:]))
    rows = unfold(projected, 0)
    expected = torch.linalg.qr(rows @ (rows.T @ start[0]))[0]
    torch.testing.assert_close(projector(tucker.factors[0]), projector(expected))
    of_batch = reconstruct(tucker)
    error = float((tensor - of_batch).square().sum() / tensor.square().sum())
    assert error == pytest.approx(1 - captured_energy(tensor, tucker.factors), abs=1e-12)


@pytest.mark.parametrize("part", [slice(None), slice(2, 4), slice(7, 8)])
def test_the_watched_share_is_the_captured_energy_of_the_part(part: slice) -> None:
    tensor = decaying((8, 12, 5, 6))
    start = start_for(tensor)
    _, projected = batch_last_tucker(tensor, start, iterations=(1, 0, 0, 0))
    expected = captured_energy(tensor[part], [None, *start[1:]])
    assert captured_share(tensor, projected, part) == pytest.approx(expected)


def test_full_ranks_capture_all() -> None:
    tensor = decaying((8, 12, 5, 6))
    tucker, projected = batch_last_tucker(tensor, [None] * 4, iterations=[1] * 4)
    assert tucker.core is projected is tensor
    assert captured_share(tensor, projected, slice(0, 1)) == 1


@pytest.mark.parametrize("scale", [0.0, 1e-30])
def test_what_cannot_be_squared_has_no_share(scale: float) -> None:
    tensor = scale * decaying((8, 12, 5, 6)).float()
    _, projected = batch_last_tucker(tensor, start_for(tensor), iterations=(1, 0, 0, 0))
    assert not captured_share(tensor, projected, slice(None)) > 0


@given(batch=st.integers(1, 70), most=st.integers(1, 9), turn=st.integers(0, 50))
def test_the_parts_of_a_batch_take_turns(batch: int, most: int, turn: int) -> None:
    count = part_count(batch, most)
    seen = [
        i for t in range(turn, turn + count) for i in range(batch)[part_of_batch(batch, most, t)]
    ]
    assert sorted(seen) == list(range(batch))
    assert 1 <= count <= most


def test_a_part_with_too_few_columns_for_the_rank_is_the_whole_batch() -> None:
    assert late_parts((64, 384, 7, 7), 32, 1) == 4
    assert late_parts((64, 384), 32, 1) == 1
    assert late_parts((8, 64), 1, 1) == 4
