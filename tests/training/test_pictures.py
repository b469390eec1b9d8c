from __future__ import annotations

import base64
import json

import pytest
import torch

from asi_core import linalg
from asi_core.linalg.tucker import reconstruct
from asi_core.training.events import EVENT_ADAPTER, LayerProbe, ProbeEvent
from asi_core.training.pictures import LayerPictures, pack
from asi_core.training.slices import input_pictures


def image_batch(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def level(pictures: LayerPictures) -> float:
    return (pictures.before.high - pictures.before.low) / 255


def tensor(pictures: LayerPictures, *, after: bool = False) -> torch.Tensor:
    packed = pictures.after if after else pictures.before
    assert packed is not None
    return torch.tensor(pictures.tiles(packed))


def test_packing_is_off_by_half_a_level_at_most() -> None:
    values = [-1.0, -0.3, 0.0, 0.77, 2.0]
    packed = pack(values)
    assert (packed.low, packed.high) == (-1.0, 2.0)
    assert len(base64.b64decode(packed.data)) == len(values)
    assert packed.unpacked() == pytest.approx(values, abs=3 / 255 / 2 + 1e-9)
    assert pack([0.5, 0.5]).unpacked() == [0.5, 0.5]


def test_the_strongest_channels_of_the_first_image_are_shown() -> None:
    x = image_batch(3, 9, 4, 5)
    x[0] *= torch.arange(1.0, 10.0)[:, None, None]
    x[1, 0] *= 1000
    pictures = input_pictures(x, 1, None)
    energy = x[0].square().sum((1, 2))
    assert list(pictures.channels) == energy.argsort(descending=True)[:6].tolist()
    assert pictures.size == (4, 5)
    assert pictures.after is None
    assert not pictures.is_tokens
    expected = x[0, list(pictures.channels)]
    assert torch.allclose(tensor(pictures), expected, atol=level(pictures))


@pytest.mark.parametrize("ranks", [(2, 3, 2, 4), (3, 9, 4, 5), (1, 1, 1, 1), (3, 4, 4, 2)])
def test_after_is_what_the_whole_tucker_form_gives(ranks: tuple[int, ...]) -> None:
    x = image_batch(3, 9, 4, 5)
    tucker = linalg.tucker.hosvd(x, ranks=ranks)
    pictures = input_pictures(x, 1, tucker.factors)
    expected = reconstruct(tucker)[0, list(pictures.channels)]
    assert torch.allclose(tensor(pictures, after=True), expected, atol=level(pictures))


def test_large_pictures_are_thinned_alike_in_both_directions() -> None:
    x = image_batch(1, 7, 50, 25)
    pictures = input_pictures(x, 1, None)
    assert pictures.size == (17, 9)
    expected = x[0, list(pictures.channels), ::3, ::3]
    assert torch.allclose(tensor(pictures), expected, atol=level(pictures))


def test_channels_last_are_shown_as_a_grid() -> None:
    x = image_batch(2, 4, 5, 8)
    pictures = input_pictures(x, 3, None)
    expected = x[0, :, :, list(pictures.channels)].permute(2, 0, 1)
    assert torch.allclose(tensor(pictures), expected, atol=level(pictures))


@pytest.mark.parametrize(("tokens", "class_tokens"), [(16, 0), (17, 1)])
def test_tokens_that_form_a_square_are_laid_out(tokens: int, class_tokens: int) -> None:
    x = image_batch(2, tokens, 8)
    tucker = linalg.tucker.hosvd(x, ranks=(1, 5, 4))
    pictures = input_pictures(x, 2, tucker.factors)
    assert pictures.size == (4, 4)
    expected = reconstruct(tucker)[0, class_tokens:, list(pictures.channels)].T
    assert torch.allclose(
        tensor(pictures, after=True), expected.reshape(6, 4, 4), atol=level(pictures)
    )


def test_other_tokens_are_one_picture_of_tokens_and_features() -> None:
    x = image_batch(2, 20, 40)
    pictures = input_pictures(x, 2, None)
    assert pictures.is_tokens
    assert pictures.size == (20, 24)
    expected = x[0][:, list(pictures.channels)][None]
    assert torch.allclose(tensor(pictures), expected, atol=level(pictures))


def test_an_event_with_pictures_goes_through_json_and_one_without_still_loads() -> None:
    pictures = input_pictures(image_batch(1, 7, 3, 3), 1, None)
    layer = LayerProbe(name="conv", shape=(1, 7, 3, 3), singular_values=((1.0,),) * 4)
    new = ProbeEvent(step=1, layers=(layer.model_copy(update={"pictures": pictures}),))
    assert EVENT_ADAPTER.validate_json(json.dumps(new.model_dump(mode="json"))) == new
    old = ProbeEvent(step=1, layers=(layer,)).model_dump(mode="json")
    del old["layers"][0]["pictures"]
    read = EVENT_ADAPTER.validate_python(old)
    assert isinstance(read, ProbeEvent)
    assert read.layers[0].pictures is None
