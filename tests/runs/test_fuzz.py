"""Random requests and uploads give one sentence or complete runs, and never a traceback.

`make faults` requests 10 000 specifications and uploads 500 archives.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import zipfile
from typing import Any

import pytest
from pydantic import ValidationError

from asi_core.datasets import load_dataset
from asi_core.datasets.uploads import keep_upload
from asi_core.errors import AsiError, one_sentence
from asi_core.methods import METHODS
from asi_core.runs.engine import worker
from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit.service import request_runs
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import MODELS
from tests.datasets.pictures import both_splits, encoded, noise

SPECS = int(os.environ.get("FUZZ_SPECS", "600"))
UPLOADS = int(os.environ.get("FUZZ_UPLOADS", "60"))
EXECUTED = int(os.environ.get("FUZZ_EXECUTED", "6"))

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 2**31, 2**63, 2**70, 0.5, -0.0, 1e-300, 1e308, float("nan"),
    float("inf"), "", " ", "0", "all", "vanilla", "../../etc/passwd", "a" * 5000, "\x00", "<b>x",
    "'; DROP TABLE runs; --", "\U0001f600", [], [1, 2, 3], {}, {"kind": "asi"}, [[]], {"a": {}},
]  # fmt: skip
KINDS = ["vanilla", "asi", "hosvd", "gradient_filter", "checkpointing", "eight_bit", "nothing"]
SETTINGS = {
    "ranks": [1, 4, 10**9, [16, 32, 4, 4], [1], [0, 1, 2, 3], -3],
    "explained_variance": [0.0, 0.5, 0.8, 1.0, 1.1],
    "budget_bytes": [0, 1, 4096, 2**40],
    "patch": [0, 1, 2, 7, 10**6],
    "refresh_every": [0, 1, 4],
    "sequential": [True, False],
    "bits": [32, 16, 8],
    "solver": ["gram", "svd", "other"],
}
VALUES = {
    "model": [*MODELS, "nothing"],
    "dataset": ["fashion_mnist_small", "imagefolder:/etc", "imagefolder:", "upload:x", "cifar10"],
    "layers": [0, 1, 2, 4, "all", 10**6],
    "steps": [1, 2, 0, 10**7],
    "batch_size": [1, 2, 8, 64, 5000, 10**9],
    "image_size": [32, 33, 64, 96, 31, 512, 10**5],
    "seed": [0, 1, 2**31, 2**64],
    "learning_rate": [0.05, 1e-9, 1e9, 0, -1],
    "momentum": [0, 0.9, 1],
    "weight_decay": [0, 1e-4, -1],
    "final_rate": [0, 0.1, 1, 2],
    "clip_norm": [2, 1e-9, 0],
    "pretrained": [True, False],
    "lean": [True, False],
    "train_norm": [True, False],
    "evaluate_every": [None, 1, 100, 0],
    "probe_every": [None, 1, 100, 0],
}


UNSAFE = ["../x.png", "/x.png", "a\\..\\x.png", "C:x.png", "x/\x00.png"]


def random_spec(draw: random.Random) -> Any:
    """A random specification, mostly close to a valid one."""
    if draw.random() < 0.02:
        return draw.choice(ODD)
    kind = draw.choice(KINDS)
    method: Any = {"kind": kind}
    known = METHODS[kind].model_fields if kind in METHODS and draw.random() < 0.9 else SETTINGS
    for name, values in SETTINGS.items():
        if name in known and draw.random() < 0.4:
            method[name] = draw.choice(values if draw.random() < 0.97 else ODD)
    spec: dict[str, Any] = {"method": method}
    for name, values in VALUES.items():
        if draw.random() < 0.3:
            # The first values are valid.
            sound = values[: max(len(values) // 2, 1)]
            spec[name] = draw.choice(sound if draw.random() < 0.97 else [*values, *ODD])
    if draw.random() < 0.05:
        spec[draw.choice(["extra", "__class__", "spec"])] = draw.choice(ODD)
    return spec


def sentence_of(error: Exception) -> str:
    sentence = one_sentence(error)
    assert "\n" not in sentence
    assert sentence
    return sentence


def test_any_specification_is_refused_or_queued_completely(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASI_MAX_RUNS", str(10**6))
    monkeypatch.setenv("ASI_MAX_RUNS_PER_OWNER", str(10**6))
    draw, store, queued, refused = random.Random(1), RunStore(database_url), 0, 0
    for _ in range(SPECS):
        count = draw.choice([1, 1, 2, 3])
        try:
            specs = [RunSpec.model_validate(random_spec(draw)) for _ in range(count)]
            runs = request_runs(store, specs, "me")
        except (AsiError, ValidationError) as error:
            sentence_of(error)
            refused += 1
        else:
            assert [store.run(run.id) for run in runs] == runs
            queued += len(runs)
    assert queued > SPECS // 50
    assert refused > SPECS // 50
    # Refused requests left nothing; repeated requests are stored once.
    assert 0 < len(store.active()) <= queued
    for run in store.active():
        assert RunSpec.model_validate_json(run.spec.model_dump_json()) == run.spec


def test_queued_runs_are_completed_or_report_an_error(database_url: str) -> None:
    draw, store, done = random.Random(2), RunStore(database_url), 0
    while done < EXECUTED:
        try:
            spec = RunSpec.model_validate(random_spec(draw))
            small = {"steps": 2, "image_size": 32, "batch_size": 8, "model": "mcunet_in1"}
            own = {**spec.model_dump(), **small, "pretrained": False, "layers": 2}
            (run,) = request_runs(store, [RunSpec.model_validate(own)], "me")
        except (AsiError, ValidationError):
            continue
        worker.execute(run.id, store.url)
        check_end(store, run)
        done += 1


def check_end(store: RunStore, run: RunRecord) -> None:
    end = store.run(run.id)
    assert end is not None
    assert end.status in ("completed", "failed")
    if end.status == "failed":
        assert end.error
        assert not re.match(r"\w+(Error|Exception): ", end.error), end.error


def hostile(draw: random.Random) -> bytes:
    """An archive that is damaged, forged, or full of files that are not images."""
    contents = {name: bytes(content) for name, content in both_splits(train=4, test=2).items()}
    names = list(contents)
    for _ in range(draw.randrange(0, 4)):
        name = draw.choice(names)
        kind = draw.randrange(9)
        if kind == 0:
            contents[draw.choice(UNSAFE)] = b""
        elif kind == 1:
            contents[name] = bytes(draw.randrange(256) for _ in range(200))
        elif kind == 2:
            content = bytearray(contents[name] or b"x")
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            contents[name] = bytes(content)
        elif kind == 3:
            contents[name] = contents[name][: draw.randrange(len(contents[name]) or 1)]
        elif kind == 4:
            contents[name] = b"\x00" * 5_000_000
        elif kind == 5:
            header = bytearray(encoded(noise(8, 8)))
            # A PNG whose header says 65535 x 65535 pixels.
            header[16:24] = b"\x00\x00\xff\xff\x00\x00\xff\xff"
            contents[name] = bytes(header)
        elif kind == 6:
            contents[f"train/{'x' * draw.choice([10, 300])}/{name.split('/')[-1]}"] = contents[name]
        elif kind == 7:
            contents[name] = json.dumps(contents[name].hex()).encode()
        else:
            contents["train/<script>alert(1)</script>/0.png"] = contents[name]
    result = io.BytesIO()
    method = draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
    with zipfile.ZipFile(result, "w", method) as file:
        for name, content in contents.items():
            file.writestr(name, content)
    archive = bytearray(result.getvalue())
    for _ in range(draw.choice([0, 0, 1, 5, 50])):
        archive[draw.randrange(len(archive))] = draw.randrange(256)
    return bytes(archive[: len(archive) if draw.random() < 0.8 else draw.randrange(len(archive))])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_any_upload_is_refused_or_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    draw, kept = random.Random(3), 0
    for number in range(UPLOADS):
        try:
            card = keep_upload(io.BytesIO(hostile(draw)), f"{number}<b>.zip", f"owner {number}")
        except AsiError as error:
            sentence_of(error)
            continue
        kept += 1
        try:
            data = load_dataset(card.name, skip_damaged=True)
        except AsiError as error:
            sentence_of(error)
            continue
        for split in (data.train, data.test):
            for index in range(len(split)):
                try:
                    split.read(index_of(index), 32)
                except AsiError as error:
                    sentence_of(error)
    folder = read_settings().home / "uploads"
    assert len(list(folder.glob("*.zip"))) <= kept
    assert not list(folder.glob("*.part")), "no partial upload is left"
    assert 0 < kept < UPLOADS


def index_of(index: int) -> Any:
    import numpy as np

    return np.array([index])
