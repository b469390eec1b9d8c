from __future__ import annotations

from unittest.mock import patch

import torch
from hypothesis import given
from hypothesis import strategies as st

from asi_core.layers.lean import bits


@given(st.integers(1, 70), st.sampled_from([1, 2, 8, 1 << 14]), st.integers(0, 2**16))
def test_a_mask_is_a_bit_per_element(count: int, part: int, seed: int) -> None:
    values = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    with patch.object(bits, "_CPU_PART", part):
        packed = bits.packed_where(values, lambda some: some > 0)
        assert packed.untyped_storage().nbytes() == -(-count // 8)
        unpacked = torch.cat(list(bits.unpacked(packed)))
    assert torch.equal(unpacked[:count] != 0, values > 0)
    assert not unpacked[count:].any()


def test_parts_are_in_the_order_of_memory() -> None:
    values = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    (only,) = bits.parts(values)
    assert torch.equal(only, values.permute(0, 2, 3, 1).flatten())


def test_a_tensor_with_gaps_is_not_dense() -> None:
    values = torch.randn(4, 6)
    assert bits.is_dense(values)
    assert bits.is_dense(values.T)
    assert not bits.is_dense(values[:, ::2])
    assert not bits.is_dense(values[:, :1].expand(4, 6))
