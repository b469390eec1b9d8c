"""Which tests run when: the three tiers, all in one place.

`make check`    lint, types, and unit tests: no training, browser, subprocess or Streamlit
`make test`     everything that a change must pass before it lands
`make faults`   also what takes minutes each: processes that are killed, long tours of a browser

A test is a unit test unless it is listed here. A listed pattern is found in the test's id, such as
`tests/zoo/test_build.py::test_name[parameter]`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from typing import Any

import pytest

# What runs in `make faults` alone, and what of its claim `make test` covers meanwhile.
FAULTS = {
    r"faults/": "nothing: these are the fault suite",
    r"engine/test_engine\.py::.*\[postgresql": "the same on SQLite; runs/store on PostgreSQL",
    r"engine/test_foreground\.py::.*\[postgresql": "the same on SQLite; runs/store on PostgreSQL",
    r"engine/test_engine\.py::test_a_run_that_kills_its_worker_each_time": "a killed worker's run "
    "continues (test_engine), and lost attempts are counted (runs/store, engine/test_watch)",
    r"training/test_feature_files\.py::test_processes_share": "the other tests of the file",
    r"test_links\.py::.*\[(explore|step|train|compare|learn|spectra|plan)\]": "links of these "
    "pages in pages/, the tour of poster, and the setup's link in browser/test_setup",
    r"browser/test_spectra\.py": "pages/test_spectra has these controls, and "
    "browser/test_every_page waits for all figures of the page",
    r"browser/test_poster\.py": "browser/test_links changes all controls of the page, and "
    "pages/test_poster has the counts and the other convention",
    r"browser/test_learn\.py::test_a_reader_searches": "pages/test_glossary: a visitor searches",
    r"browser/test_compare\.py::test_a_sweep": "pages/test_compare launches, counts and cancels a "
    "sweep, and browser/test_main_job watches runs of a real worker",
    r"browser/test_uploads\.py::test_two_visitors": "pages/test_uploads, datasets/test_uploads",
    r"browser/test_main_job\.py::test_nothing_overflows": "browser/test_every_page at 390 pixels",
    r"browser/test_main_job\.py::test_wrong_input": "pages/test_train: wrong settings",
    r"browser/test_main_job\.py::test_a_run_is_cancelled": "the plan's runs are cancelled in the "
    "same file, engine/test_engine cancels a run beside another, pages/test_train has the words",
    r"zoo/test_efficientnet_lite0\.py::test_features_of_real": "the weights are the package's, "
    "tensor by tensor, in the same file",
    r"test_measuring\.py::test_what_the_formula_says.*\[(resnet|vit|mobilenet)": "the same for "
    "EfficientNet-Lite0, MCUNet and Swin-T",
}
# What is no unit test: it trains, or starts a process, a browser or Streamlit.
_NOT_UNIT = (
    *("browser/", "pages/", "dashboard/", "bench/", "studies/", "zoo/", "runs/engine/"),
    *("runs/exchange/", "runs/submit/test_limits", "runs/submit/test_service", "runs/test_fuzz"),
    *("runs/store/", "results/test_poster", "methods/test_plugins", "layers/lean/test_zoo"),
    "layers/lean/test_timm",
    *("costs/test_measure", "costs/test_meters", "costs/test_clocks", "costs/test_devices"),
    *("test_cli", "test_install", "test_readme", "test_docs", "test_architecture"),
    *("test_settings", "test_project", "test_examples", "datasets/test_published"),
    *(r"\[postgresql", "datasets/test_in_runs", "layers/lean/test_surgery", "compression/"),
    r"training/test_(calibration|checkpoint|checkpointing|feature_files|features|frozen|loop)",
    r"training/test_(fine_tuning|formula_memory|measuring|optimisers|prefix|probes|reproduce|step)\.",
    "costs/timeline/test_measured",
    "training/test_lengthening",
    "test_other_tools",
)
# Their number of random examples grows in `make faults`.
_FUZZ = ("runs/test_fuzz.py", "exchange/test_fuzz_imports.py", "pages/test_fuzz_links.py")


def mark(items: Iterable[pytest.Item]) -> None:
    """Mark each test with its tier, before tests are chosen by their marks."""
    for item in items:
        name = item.nodeid
        if any(re.search(pattern, name) for pattern in FAULTS):
            item.add_marker("faults")
        elif not any(re.search(pattern, name) for pattern in _NOT_UNIT):
            item.add_marker("unit")
        if any(file in name for file in _FUZZ):
            item.add_marker("fuzz")


@pytest.fixture(autouse=True)
def _unit_tests_stay_units(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit test that starts a process or Streamlit's tester fails, and must be listed above."""
    if request.node.get_closest_marker("unit") is not None:

        def refuse(*_: Any, **__: Any) -> None:
            pytest.fail("a unit test starts a process or Streamlit: list it in tests/tiers.py")

        monkeypatch.setattr(subprocess, "Popen", refuse)
        monkeypatch.setattr("multiprocessing.process.BaseProcess.start", refuse)
