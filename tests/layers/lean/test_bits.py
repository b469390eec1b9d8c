from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from asi_core.layers.lean import packed_bits, unpacked_bits


@given(st.integers(0, 70), st.integers(0, 2**16))
def test_a_mask_is_a_bit_per_element(count: int, seed: int) -> None:
    mask = torch.rand(count, generator=torch.Generator().manual_seed(seed)) < 0.5
    packed = packed_bits(mask)
    assert packed.untyped_storage().nbytes() == -(-count // 8)
    unpacked = unpacked_bits(packed)
    assert torch.equal(unpacked[:count] != 0, mask)
    assert not unpacked[count:].any()
