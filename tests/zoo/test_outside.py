"""Networks beyond the zoo by name: their cards, who may make them, and what they train like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from asi_core.errors import AsiError, InvalidInput, Unavailable, Unsupported
from asi_core.settings import read_settings
from asi_core.training.loop import fine_tune
from asi_core.training.spec import RunSpec
from asi_core.zoo import outside, shapes
from asi_core.zoo.build import build_architecture, build_model
from asi_core.zoo.cards import MODELS, ModelCard, model_card, register_model
from asi_core.zoo.libraries import key_adapter
from asi_core.zoo.outside import choices, outside_card, title_of, trust
from asi_core.zoo.parameters import parameter_count
from asi_core.zoo.shapes import layer_facts, tabled_sizes, trained_layer_shapes
from asi_core.zoo.tracing import traced_layer_shapes

TINY = """
from torch import nn
import beside

def tiny():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, beside.WIDTH, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(beside.WIDTH, 10),
    )

def broken():
    raise ValueError("no such width")

def number():
    return 3

def features():
    return nn.Sequential(nn.Conv2d(3, 8, 3))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("WIDTH = 16\n")
    path = tmp_path / "networks.py"
    path.write_text(TINY)
    return path


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command line is given is forgotten after the test."""
    monkeypatch.setenv("ASI_TRUSTED_MODELS", "")


def plain(card: ModelCard) -> dict[str, Any]:
    return {
        "head": card.head,
        "features": card.head_features,
        "layers": card.layer_count,
        "parameters": card.parameter_count,
        "modes": card.modes,
        "size": (card.native_size, card.fixed_size),
        "mean": card.mean,
        "std": card.std,
        "weights": (card.weights.name, card.weights.sha256, card.weights.url),
    }


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_a_card_that_is_made_is_the_one_that_was_written_by_hand(name: str) -> None:
    """torchvision's networks of the zoo, found by their names beyond it."""
    own, made = MODELS[name], model_card(f"torchvision/{name}")
    assert plain(made) == plain(own)
    for one, other in zip(layer_facts(own.name), layer_facts(made.name), strict=True):
        size = own.native_size
        assert (one.sizes[size], one.name) == (other.sizes[size], other.name)
        assert one.sources == other.sources
        assert (one.geometry, one.has_bias, one.input_id, one.weight_shape) == (
            other.geometry,
            other.has_bias,
            other.input_id,
            other.weight_shape,
        )
    assert parameter_count(made.name, 4, 10) == parameter_count(own.name, 4, 10)
    assert tabled_sizes(made) == tabled_sizes(own)
    assert trained_layer_shapes(made.name, 3, 2, 64) == trained_layer_shapes(own.name, 3, 2, 64)


def test_attention_and_mlps_of_a_transformer_are_its_layers() -> None:
    card = model_card("torchvision/swin_t")
    assert card.layer_kind == "linear"
    assert (card.head, card.head_features) == ("head", 768)
    # Its windows' attention reads the weights of qkv and proj, and calls neither.
    assert card.layer_names[-2:] == ("features.7.1.mlp.0", "features.7.1.mlp.3")
    assert card.mode_names == ("batch", "height", "width", "features")


@pytest.mark.usefixtures("trusted")
def test_layers_with_different_numbers_of_modes_take_one_rank_only() -> None:
    name = "timm/swin_tiny_patch4_window7_224"
    trust(name)
    card = model_card(name)
    assert set(card.layer_modes) == {3, 4}
    base: dict[str, Any] = {"model": name, "pretrained": False, "image_size": 224}
    RunSpec.model_validate({**base, "layers": "all", "method": {"kind": "asi", "ranks": 3}})
    with pytest.raises(ValueError, match="one number where inputs have 3 or 4 modes"):
        RunSpec.model_validate(
            {**base, "layers": "all", "method": {"kind": "asi", "ranks": (1, 2, 3, 4)}}
        )


@pytest.mark.usefixtures("trusted")
def test_a_file_of_ones_own_trains_like_any_other(file: Path) -> None:
    name = f"{file}:tiny"
    trust(name)
    card = model_card(name)
    assert (card.title, card.head, card.layer_names) == ("tiny (networks.py)", "6", ("0", "2"))
    spec = RunSpec.model_validate(
        {
            "model": name,
            "pretrained": False,
            "layers": 2,
            "steps": 2,
            "batch_size": 8,
            "image_size": 32,
            "method": {"kind": "asi", "ranks": 2},
        }
    )
    events = list(fine_tune(spec))
    assert [event.kind for event in events].count("step") == 2
    assert [shape.name for shape in events[0].layers] == ["0", "2"]  # type: ignore[union-attr]


@pytest.mark.usefixtures("trusted")
def test_a_card_is_made_once_and_again_when_the_file_changes(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{file}:tiny"
    trust(name)
    first = model_card(name)
    assert len(layer_facts(name)) == len(trained_layer_shapes(name, 2, 2, 64)) == 2
    (kept,) = (read_settings().home / "models").iterdir()
    assert json.loads(kept.read_text())["card"]["name"] == name
    monkeypatch.setattr("asi_core.zoo.making.made_facts", None)
    assert model_card(name) == first
    # Who may not run its code still reads what is kept, as pages do.
    monkeypatch.setenv("ASI_TRUSTED_MODELS", "")
    assert model_card(name) == first
    monkeypatch.undo()
    file.write_text(
        TINY.replace("nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), ", "").replace(
            "nn.Conv2d(8,", "nn.Conv2d(3,"
        )
    )
    trust(name)
    assert model_card(name).layer_names == ("0",)
    assert [facts.weight_shape for facts in layer_facts(name)] == [(16, 3, 3, 3)]
    assert [shape.weight_shape for shape in trained_layer_shapes(name, 1, 2, 64)] == [(16, 3, 3, 3)]


def test_only_who_may_runs_code(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{file}:tiny"
    monkeypatch.setenv("ASI_TRUSTED_MODELS", "")
    for wanted in (name, "timm/resnet18", "hf/google/vit"):
        with pytest.raises(InvalidInput, match="must be listed by the owner of the server"):
            model_card(wanted)
        with pytest.raises(ValueError, match="listed by the owner"):
            RunSpec.model_validate({"model": wanted, "method": {"kind": "vanilla"}})
    monkeypatch.setenv("ASI_MODELS", f"timm/mobilenetv3_small_050,{name}")
    assert model_card(name).layer_count == 2
    assert choices()[-2:] == ("timm/mobilenetv3_small_050", name)


def test_building_needs_the_same_permission(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that is kept is no permission to run what made it."""
    name = f"{file}:tiny"
    monkeypatch.setenv("ASI_MODELS", name)
    card = model_card(name)
    monkeypatch.delenv("ASI_MODELS")
    assert model_card(name) == card
    with pytest.raises(InvalidInput, match="must be listed by the owner"):
        build_architecture(card)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("torchvision/resnet19", InvalidInput, "did you mean torchvision/resnet18"),
        ("torchvision/deeplabv3_resnet50", InvalidInput, "must be one of torchvision's"),
        ("timm/mobilenetv3_smal_050", InvalidInput, "did you mean timm/mobilenetv3_small_050"),
        ("hf//nowhere/at/all", Unavailable, "name a folder with a config.json"),
        ("nowhere.py:tiny", InvalidInput, "file must exist, got 'nowhere.py'"),
        ("{file}:absent", InvalidInput, "must be in networks.py, got 'absent'"),
        ("{file}:broken", Unsupported, "broken failed .ValueError: no such width"),
        ("{file}:number", InvalidInput, "must return a torch.nn.Module, got int"),
        ("{file}:features", Unsupported, "is no image classifier"),
        ("torchvision/" + 300 * "x", InvalidInput, "at most 200 characters"),
        ("efficientnet", InvalidInput, "must be one of the zoo, torchvision/NAME"),
    ],
)
@pytest.mark.usefixtures("trusted")
def test_what_cannot_be_is_reported_in_one_sentence(
    name: str, error: type[AsiError], message: str, file: Path
) -> None:
    name = name.format(file=file)
    trust(name)
    with pytest.raises(error, match=message) as caught:
        model_card(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.usefixtures("trusted")
def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    trust("timm/resnet18")
    monkeypatch.setattr(outside, "_version", lambda library: None)
    with pytest.raises(Unavailable, match=r"needs timm, which .* pip install asi-lab\[timm\]"):
        model_card("timm/resnet18")


def test_a_damaged_card_on_disk_is_made_again() -> None:
    first = outside_card("torchvision/mobilenet_v3_small")
    (kept,) = (read_settings().home / "models").iterdir()
    for damage in ("", "[]", '{"card": 3}', kept.read_text()[:200]):
        kept.write_text(damage)
        outside.forget_cards()
        assert outside_card("torchvision/mobilenet_v3_small") == first


def test_a_card_of_an_earlier_version_serves_where_none_can_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says how many of the last layers must be trained so that an input needs a gradient."""
    name = "torchvision/resnet18"
    outside_card(name)
    expected = [trained_layer_shapes(name, count, 2, 224) for count in range(21)]
    (path,) = (read_settings().home / "models").iterdir()
    kept = json.loads(path.read_text())
    count = len(kept["layers"])
    for at, row in enumerate(kept["layers"]):
        deep = range(count - at, count + 1)
        needing = (k for k in deep if expected[k][at - count + k].has_input_gradient)
        row["input_gradient_from"] = next(needing, None)
        del row["after"]
    path.write_text(json.dumps({**kept, "edition": "another"}))
    outside.forget_cards()
    for known in (shapes._facts_of_edition, shapes._shapes_of_edition):
        known.cache_clear()

    def refuse(name: str) -> None:
        raise Unavailable("torchvision is not installed.")

    monkeypatch.setattr(outside, "check_may_build", refuse)
    for k in range(21):
        found = trained_layer_shapes(name, k, 2, 224)
        flags = [shape.has_input_gradient for shape in found]
        assert flags == [shape.has_input_gradient for shape in expected[k]], k


def test_weights_of_torchvision_are_found_where_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASI_WEIGHTS_DIR", str(tmp_path))
    torch.manual_seed(3)
    source = torchvision.models.mobilenet_v3_small()
    torch.save(source.state_dict(), tmp_path / "torchvision_mobilenet_v3_small.pth")
    built = build_model("torchvision/mobilenet_v3_small", 5, seed=0)
    assert torch.equal(built.features[0][0].weight, source.features[0][0].weight)
    assert built.classifier[3].out_features == 5


def test_keys_of_old_densenets_are_those_of_the_network() -> None:
    model = torchvision.models.densenet121()
    old = {
        key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value
        for key, value in model.state_dict().items()
    }
    assert set(key_adapter("torchvision/densenet121")(old)) == set(model.state_dict())


@pytest.mark.usefixtures("trusted")
def test_weights_of_a_hub_that_is_out_of_reach_name_the_remedies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Read from the environment when the library is imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    trust("timm/mobilenetv3_small_050")
    with pytest.raises(Unavailable, match=r"random weights \(--random-weights\)"):
        build_model("timm/mobilenetv3_small_050", 5, seed=0)


@pytest.mark.usefixtures("trusted")
def test_an_image_classifier_of_transformers_is_loaded_from_a_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        num_labels=7,
    )
    torch.manual_seed(1)
    source = transformers.ViTForImageClassification(config)
    source.save_pretrained(tmp_path)
    name = f"hf/{tmp_path}"
    trust(name)
    card = model_card(name)
    assert (card.layer_kind, card.head_features, card.native_size) == ("linear", 32, 32)
    built = build_model(name, 3, seed=0)
    assert built(torch.randn(2, 3, 32, 32)).shape == (2, 3)
    weights = dict(source.named_parameters())
    for key, value in built.named_parameters():
        own = key.removeprefix("model.")
        if not own.startswith("classifier"):
            assert torch.equal(value, weights[own]), key


def test_a_classifier_may_be_a_convolution() -> None:
    model = build_model("torchvision/squeezenet1_1", 4, seed=1, pretrained=False)
    assert isinstance(model.classifier[1], nn.Conv2d)
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 4)


def test_a_registered_model_has_rows_without_a_table() -> None:
    card = MODELS["resnet18"]
    own = ModelCard(**{name: getattr(card, name) for name in card.__slots__} | {"name": "mine"})
    register_model(own)
    try:
        for one, other in zip(layer_facts("mine"), layer_facts("resnet18"), strict=True):
            assert one.sources == other.sources
        assert trained_layer_shapes("mine", 2, 3, 96) == traced_layer_shapes("resnet18", 2, 3, 96)
    finally:
        MODELS.remove("mine")


def test_pages_list_torchvisions_networks_without_importing_it() -> None:
    code = (
        "import sys\n"
        "from asi_core.zoo.outside import choices\n"
        "assert 'torchvision/regnet_y_400mf' in choices()\n"
        "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
    known = torchvision.models.list_models(module=torchvision.models)
    listed = [n.partition("/")[2] for n in choices() if n.startswith("torchvision/")]
    assert set(listed) <= set(known)
    assert title_of("torchvision/resnet18") == "resnet18 (torchvision)"
    assert title_of("resnet18") == "ResNet-18"


def test_an_image_that_is_too_small_is_reported_in_one_sentence() -> None:
    with pytest.raises(InvalidInput, match=r"accepts, got 64 \(.*\): choose 299\.$") as caught:
        trained_layer_shapes("torchvision/inception_v3", 2, 4, 64)
    assert len(str(caught.value)) < 300
