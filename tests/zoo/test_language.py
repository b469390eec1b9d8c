"""Decoders from a configuration: estimates without weights, and what a real step keeps."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core import Compression, estimate, measure, prepare_
from asi_core.cli import main as command
from asi_core.costs.devices import training_memory
from asi_core.errors import AsiError, InvalidInput, Unavailable, Unsupported
from asi_core.methods import ASI, Method, Vanilla
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from asi_core.zoo import apart, outside
from asi_core.zoo.build import build_architecture
from asi_core.zoo.cards import model_card
from asi_core.zoo.configurations import (
    EXAMPLE,
    configuration_file,
    configuration_title,
    keep_configuration,
    named_in,
)
from asi_core.zoo.making import made_facts
from asi_core.zoo.outside import choices, title_of, trust
from asi_core.zoo.parameters import parameter_count

transformers = pytest.importorskip("transformers")

TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 64,
}
LLAMA = {"model_type": "llama", **TINY}
# Other architectures, with what else they must be told.
OTHERS: dict[str, dict[str, Any]] = {
    "gpt_neox": {},
    "qwen3_moe": {"num_experts": 4, "moe_intermediate_size": 16, "num_experts_per_tok": 2},
}
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
BATCH, TOKENS = 3, 16


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASI_TRUSTED_MODELS", "")


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process takes seconds to import; one test below starts it."""
    monkeypatch.setattr(apart, "made_apart", made_facts)


def folder_with(path: Path, configuration: dict[str, Any]) -> str:
    (path / "config.json").write_text(json.dumps(configuration))
    name = f"hf/{path}"
    trust(name)
    return name


def next_token_loss(model: nn.Module, tokens: Tensor) -> Tensor:
    scores = model(input_ids=tokens).logits
    return F.cross_entropy(scores[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


@pytest.mark.parametrize("method", [Vanilla(), ASI(ranks=4), ASI(ranks=(2, 5, 7))])
@pytest.mark.parametrize("architecture", ["llama", *OTHERS])
def test_an_estimate_from_a_configuration_is_what_a_real_step_keeps(
    architecture: str, method: Method, tmp_path: Path
) -> None:
    own = OTHERS.get(architecture, {})
    name = folder_with(tmp_path, {**LLAMA, **own, "model_type": architecture})
    card = model_card(name)
    for layers in (3, card.layer_count):
        cost = estimate(name, method, layers=layers, batch_size=BATCH, tokens=TOKENS)
        model = build_architecture(card).eval()
        tokens = torch.randint(50, (BATCH, TOKENS), generator=torch.Generator().manual_seed(0))
        chosen = list(card.layer_names[-layers:])
        prepare_(model, Compression(method, layers=chosen, lean=False))
        measured = measure(model, tokens, next_token_loss)
        kept = {layer.name: layer.saved_bytes for layer in measured.layers}
        assert kept == {layer.shape.name: layer.activation_bytes for layer in cost.layers}
        assert [layer.shape.name for layer in cost.layers] == chosen


def test_a_card_has_attention_and_mlps_of_all_blocks(tmp_path: Path) -> None:
    name = folder_with(tmp_path, LLAMA)
    card = model_card(name)
    assert [n.rpartition(".")[2] for n in card.layer_names] == [*PROJECTIONS, *PROJECTIONS]
    assert card.mode_names == ("batch", "tokens", "features")
    assert (card.reads, card.head, card.native_size) == ("tokens", "lm_head", 64)
    real = build_architecture(card)
    assert card.parameter_count == sum(p.numel() for p in real.parameters())
    trained = sum(p.numel() for n in card.layer_names for p in real.get_submodule(n).parameters())
    count = parameter_count(name, "all", 10)
    assert (count.layers, count.head, count.frozen) == (trained, 0, card.parameter_count - trained)
    cost = estimate(name, Vanilla(), layers="all", batch_size=2, tokens=8)
    memory = training_memory(cost, name, layers="all", batch_size=2, classes=10)
    assert memory.activation_bytes == cost.activation_bytes
    # Nothing before the first three needs a gradient.
    gradients = [layer.shape.has_input_gradient for layer in cost.layers]
    assert gradients == 3 * [False] + 11 * [True]


def test_the_file_itself_is_a_name_and_its_content_makes_the_card(tmp_path: Path) -> None:
    name = folder_with(tmp_path, LLAMA)
    file = f"{name}/config.json"
    trust(file)
    assert model_card(file).layer_names == model_card(name).layer_names
    folder_with(tmp_path, {**LLAMA, "num_hidden_layers": 1})
    assert model_card(name).layer_count == model_card(file).layer_count == 7


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model_type": "gpt2"}, Unsupported, "of transformers' Conv1D, and only nn.Linear"),
        ({"model_type": "opt"}, Unsupported, r"fc1 reads 16 x \d+ for 2 texts of 8 tokens"),
        ({"model_type": "no_such"}, Unsupported, "cannot read the configuration"),
        ({"model_type": "t5"}, Unsupported, "neither an image classifier nor a decoder"),
        ({"model_type": 3}, InvalidInput, 'name its architecture as "model_type"'),
        ({"auto_map": {"AutoConfig": "a.B"}}, InvalidInput, r"code of its own \(auto_map\)"),
        ({"num_attention_heads": 5}, Unsupported, "cannot be|cannot read"),
        ({"hidden_act": "no_such"}, Unsupported, "cannot be built without weights"),
    ],
)
def test_what_is_no_decoder_is_reported_in_one_sentence(
    change: dict[str, Any], error: type[AsiError], message: str, tmp_path: Path
) -> None:
    name = folder_with(tmp_path, {**LLAMA, **change})
    with pytest.raises(error, match=message) as caught:
        model_card(name)
    assert "\n" not in str(caught.value)


def test_sizes_belong_to_what_a_network_reads(tmp_path: Path) -> None:
    name = folder_with(tmp_path, LLAMA)
    given: dict[str, Any] = {"layers": 2, "batch_size": 2}
    with pytest.raises(InvalidInput, match=r"image size must not be given for .* reads tokens"):
        estimate(name, Vanilla(), **given, tokens=8, image_size=96)
    with pytest.raises(InvalidInput, match="tokens must not be given for ResNet-18, which reads"):
        estimate("resnet18", Vanilla(), **given, tokens=8)
    for tokens in (0, 65):
        with pytest.raises(InvalidInput, match="between 1 and 64, the positions of"):
            estimate(name, Vanilla(), **given, tokens=tokens)


def test_runs_of_a_decoder_are_refused_with_what_works_instead(tmp_path: Path) -> None:
    name = folder_with(tmp_path, LLAMA)
    with pytest.raises(ValueError, match=r"estimate it .*prepare_.*huggingface_trainer\.py"):
        RunSpec.model_validate({"model": name, "method": {"kind": "vanilla"}})


def test_the_command_line_estimates_a_decoder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = folder_with(tmp_path, LLAMA)
    words = ["estimate", "--model", name, "--layers", "2", "--batch-size", "4"]
    asked = [*words, "--method", "asi", "--rank", "4"]
    assert command([*asked, "--tokens", "32", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [layer["input_shape"] for layer in found["layers"]] == [[4, 32, 32], [4, 32, 48]]
    # Batch is kept whole; a core, and factors of tokens and features.
    kept = [4 * (4 * 4 * 4 + 4 * (32 + features)) for features in (32, 48)]
    assert [layer["activation_bytes"] for layer in found["layers"]] == kept
    assert found["activation_bytes"] == sum(kept)
    assert command([*asked, "--tokens", "32"]) == 0
    assert "total (exact)" in capsys.readouterr().out
    for wrong in ([], ["--tokens", "32", "--image-size", "96"]):
        assert command([*asked, *wrong]) != 0
        assert "which reads tokens" in capsys.readouterr().err
    assert command([*words, "--method", "vanilla", "--tokens", "8"]) == 0
    for other in (["train"], ["measure"], ["plan", "--budget-mib", "1"]):
        assert command([*other, "--model", name]) != 0
        assert "networks that classify images" in capsys.readouterr().err


@pytest.mark.usefixtures("in_this_process")
def test_what_is_handed_in_is_chosen_by_name_or_title() -> None:
    name = keep_configuration(json.dumps(LLAMA))
    assert model_card(name).layer_count == 14
    assert keep_configuration(json.dumps(LLAMA, indent=3)) == name
    assert named_in(name) == named_in(title_of(name)) == name
    assert title_of(name).startswith("llama decoder (config/")
    assert named_in("config/0123") is named_in("resnet18") is named_in("") is None
    assert configuration_file("config/../secret") is None


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be JSON"),
        ("[" * 5000, "must be JSON|levels deep"),
        ('{"model_type": "llama", "a": ' + "[" * 20 + "]" * 20 + "}", "at most 8 levels deep"),
        ("[]", "must name its architecture"),
        (json.dumps({**LLAMA, "num_hidden_layers": 10**6}), "num_hidden_layers .* at most 256"),
        (json.dumps({**LLAMA, "hidden_size": 10**12}), "hidden_size .* at most 100000000"),
        (json.dumps({**LLAMA, "rope_theta": float("nan")}), "rope_theta .* at most"),
        (json.dumps({**LLAMA, "auto_map": {}}), "auto_map"),
        (json.dumps({**LLAMA, "note": "x" * 70_000}), "must have at most 64"),
        (json.dumps({**LLAMA, "hidden_act": "no_such"}), "cannot be built"),
    ],
)
def test_hostile_configurations_are_refused_and_not_kept(text: str, message: str) -> None:
    with pytest.raises(AsiError, match=message) as caught:
        keep_configuration(text)
    assert len(str(caught.value)) < 500
    assert not list((read_settings().home / "configurations").glob("*"))


@pytest.mark.usefixtures("in_this_process")
def test_code_and_types_of_weights_have_no_influence() -> None:
    name = keep_configuration(json.dumps(LLAMA))
    stored = {
        "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "gptq"},
        "attn_implementation": "somebody/kernel",
        "_attn_implementation": "somebody/kernel",
    }
    assert keep_configuration(json.dumps({**LLAMA, **stored})) == name


def test_the_example_of_a_billion_parameters_is_made_in_another_process() -> None:
    assert EXAMPLE in choices()
    card = model_card(EXAMPLE)
    assert 1e9 <= card.parameter_count < 1.1e9
    assert card.title == configuration_title(EXAMPLE)
    cost = estimate(EXAMPLE, ASI(ranks=16), layers=7, batch_size=4, tokens=512)
    assert cost.layers[-1].shape.input_shape == (4, 512, 6144)


def test_an_error_of_the_other_process_arrives_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = json.dumps({"error": "Unsupported", "message": "no decoder."}).encode()
    done = subprocess.CompletedProcess([], 0, answer)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(Unsupported, match=r"^no decoder\.$"):
        model_card(EXAMPLE)


def test_a_process_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_SECONDS", 0.01)
    with pytest.raises(Unsupported, match=r"cannot be found within 0\.01 seconds"):
        model_card(EXAMPLE)


def test_without_transformers_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outside, "_version", lambda library: None)
    with pytest.raises(Unavailable, match=r"needs transformers.* pip install asi-lab\[hf\]"):
        model_card(EXAMPLE)
