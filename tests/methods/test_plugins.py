"""Methods of another package, found by its entry points: nothing here names them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

import tests.plugins
from asi_core.cli import main, parse
from asi_core.cli.train import requested_spec
from asi_core.errors import InvalidInput
from asi_core.fields import Setting
from asi_core.methods import (
    ASI,
    METHODS,
    USUAL_EXPLAINED_VARIANCE,
    Method,
    Vanilla,
    register_method,
)
from asi_core.methods.registry import TAKEN_NAMES, foreign_code, method_fields
from asi_core.runs.submit.fingerprint import fingerprints_of
from asi_core.training.reproduce import as_command
from asi_core.training.spec import RunSpec
from tests import command
from tests.plugins import NonZero, Thinned

ROOT = Path(__file__).parents[2]
SMALL = ("--steps", "2", "--batch-size", "4", "--image-size", "32", "--layers", "1")
ENTRY_POINTS = """[asi_lab.methods]
thinned = stranger:Thinned
nonzero = stranger:NonZero
"""
BROKEN = """broken = stranger_broken:Method
missing = stranger:NoSuchMethod
taken = stranger_taken:Taken
"""
TAKEN = """
from typing import Annotated, Literal
from asi_core.fields import Setting
from stranger import NonZero

class Taken(NonZero):
    kind: Literal["taken"] = "taken"
    seed: Annotated[int, Setting("Seed", "Of the method itself.")] = 0
"""


def install(folder: Path, entry_points: str, **modules: str) -> Path:
    """A package as pip installs it: its modules, and its metadata with entry points."""
    about = folder / "stranger-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(entry_points)
    shutil.copy(str(tests.plugins.__file__), folder / "stranger.py")
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("stranger"), ENTRY_POINTS)


def python(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    places = os.pathsep.join((str(package), str(ROOT)))
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": places},
        cwd=package,
        capture_output=True,
        text=True,
        check=False,
    )


def answer(package: Path, *arguments: str) -> dict[str, Any]:
    """The JSON that a command prints."""
    done = python(package, "-m", "asi_core", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_package_brings_methods_that_keep_the_contract(package: Path) -> None:
    code = """
import logging
from asi_core.methods import METHODS
from asi_core.testing import check_method
for kind in ("thinned", "nonzero"):
    check_method(METHODS[kind])
print(list(METHODS)[-2:], METHODS["thinned"].__module__)
"""
    done = python(package, "-c", code)
    assert done.stdout.strip() == "['thinned', 'nonzero'] stranger", done.stderr


def test_an_example_is_short() -> None:
    text = Path(str(tests.plugins.__file__)).read_text()
    lengths = [len(part.strip().splitlines()) for part in text.split("\n\n\nclass ")[1:]]
    assert len(lengths) == 2
    assert max(lengths) <= 50


def test_its_costs_are_estimated_and_have_equations(package: Path) -> None:
    found = answer(package, "estimate", "--method", "thinned", "--every", "4", *SMALL[2:])
    (layer,) = found["layers"]
    _, *sizes = layer["input_shape"]
    assert found["activation_bytes"] == 4 * 1 * sizes[0] * sizes[1] * sizes[2]
    code = """
from asi_core.costs.formulas import layer_formulas
from asi_core.methods import METHODS
from asi_core.zoo.shapes import trained_layer_shapes
(shape,) = trained_layer_shapes("efficientnet_lite0", 1, 4, 32)
found = layer_formulas(METHODS["thinned"](every=4), shape, None, "exact")
print(found["kept"].value, found["kept"].expression)
"""
    value, expression = python(package, "-c", code).stdout.strip().split(maxsplit=1)
    assert int(value) == found["activation_bytes"]
    assert expression == "4 * ceil(B / n) * C * H * W"


def test_without_a_closed_form_an_estimate_is_refused_in_one_sentence(package: Path) -> None:
    done = python(package, "-m", "asi_core", "estimate", "--method", "nonzero", *SMALL[2:])
    assert done.returncode == 2
    assert done.stderr == "Non-zero input has no closed form: measure it.\n"


def test_it_trains_with_its_settings(package: Path) -> None:
    own = ("--method", "thinned", "--every", "3", "--weighting", "sum")
    found = answer(package, "train", *own, *SMALL)
    assert found["status"] == "completed"
    assert found["spec"]["method"] == {"kind": "thinned", "every": 3, "weighting": "sum"}
    assert 0 < found["activation_bytes"] < found["measured_saved_bytes"]
    assert found["macs"]["total"] > 0


@pytest.mark.usefixtures("plugins")
def test_its_settings_are_axes_of_sweeps() -> None:
    for axis in (("--every", "2,4"), ("--weighting", "mean,sum")):
        found = command.answer("sweep", "--methods", "thinned", *axis, "--dry-run")
        # Besides vanilla and the linear probe.
        assert found["run_count"] == 2 + 2
        alone = command.answer(
            "sweep", "--methods", "thinned", *axis, "--no-references", "--dry-run"
        )
        assert alone["run_count"] == 2


def test_one_that_is_broken_is_left_out_with_a_line_in_the_log(tmp_path: Path) -> None:
    broken = install(
        tmp_path / "broken",
        ENTRY_POINTS + BROKEN,
        stranger_broken="raise RuntimeError('half\\nwritten')",
        stranger_taken=TAKEN,
    )
    found = python(broken, "-m", "asi_core", "estimate", "--method", "thinned", *SMALL[2:])
    assert found.returncode == 0
    assert "total (exact)" in found.stdout
    lines = found.stderr.splitlines()
    assert [line.partition(" is left out: ")[0] for line in lines] == [
        "method stranger_broken:Method",
        "method stranger:NoSuchMethod",
        "method stranger_taken:Taken",
    ]
    assert lines[0].endswith("half written")
    assert "must not have the name of a run's field or of a flag, got seed" in lines[2]


# Adding a setting -------------------------------------------------------------------------------


class Damped(Thinned):
    """A method that adds only this line."""

    kind: Literal["damped"] = "damped"
    floor: Annotated[float, Setting("Floor", "Least share.", least=0, most=1, plural="floors")] = 0


@pytest.fixture
def damped(plugins: None) -> Iterator[None]:
    register_method(Damped)
    yield
    METHODS.remove("damped")


@pytest.mark.usefixtures("damped")
def test_a_setting_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    spec = requested_spec(parse(["train", "--method", "damped", "--floor", "0.25"]))
    assert spec.method == Damped(floor=0.25)
    assert as_command(spec) == "python -m asi_core train --method damped --floor 0.25"
    assert spec.method.settings_label == "Thinned batch, floor 0.25"
    asked = ["sweep", "--methods", "damped", "--floor", "0,0.25", "--no-references", "--dry-run"]
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["run_count"] == 2
    assert found["sweep"]["settings"] == {"floor": [0, 0.25]}
    assert main(["train", "--method", "damped", "--floor", "1.5"]) == 2
    assert "floor must be at least 0 and at most 1, got 1.5" in capsys.readouterr().err


class Needy(NonZero):
    """Has a setting without a default."""

    width: Annotated[int, Setting("Width", "Of something.", usual=7)]


def test_usual_settings_are_where_forms_start() -> None:
    assert Needy.usual() == Needy(width=7)
    assert Thinned.usual() == Thinned()
    assert ASI.usual() == ASI(explained_variance=USUAL_EXPLAINED_VARIANCE)


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("method", [Thinned(every=5), Thinned(weighting="sum"), NonZero()], ids=str)
def test_the_command_that_repeats_a_run_gives_the_same(method: Method) -> None:
    spec = RunSpec(method=method, layers=2)
    words = shlex.split(as_command(spec))
    assert requested_spec(parse(words[3:])) == spec


# Registering -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["steps", "rank", "dry_run"])
def test_a_setting_with_the_name_of_a_flag_is_refused(name: str) -> None:
    field = Annotated[int, Setting("Own", "Of the method.")]
    body = {"__annotations__": {"kind": Literal["own"], name: field}, "kind": "own", name: 1}
    own = type("Own", (NonZero,), {**body, "__module__": __name__})
    with pytest.raises(InvalidInput, match=f"of a flag, got {name}"):
        register_method(own)
    assert "own" not in METHODS


def test_all_fields_of_a_run_and_all_flags_are_taken() -> None:
    assert set(RunSpec.model_fields) <= TAKEN_NAMES
    settings = {field.option for field, _ in method_fields().values()}
    settings |= {name for method in METHODS.values() for name in method.model_fields}
    for words in (["train"], ["estimate"], ["measure"], ["sweep"]):
        options = vars(parse(words)).keys() - {"budget_mib"}
        assert options <= TAKEN_NAMES | settings


def test_other_code_of_a_package_has_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = RunSpec(method=Vanilla()), RunSpec(method=NonZero())
    assert foreign_code(Vanilla) == ""
    before = fingerprints_of([ours, theirs])
    monkeypatch.setattr("asi_core.runs.submit.fingerprint.foreign_code", lambda method: "changed")
    after = fingerprints_of([theirs])
    assert after[0] not in before
    assert len(foreign_code(NonZero)) == 64
