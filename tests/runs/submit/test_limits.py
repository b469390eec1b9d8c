"""Requests beyond the limits are refused in one sentence, and nothing is queued."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asi_core.errors import InvalidInput, Refused
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.library import Description, RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit.footprint import run_bytes
from asi_core.runs.submit.jobs import request_job
from asi_core.runs.submit.networks import network_of
from asi_core.runs.submit.service import request_cancel, request_runs
from asi_core.training.spec import RunSpec
from tests.datasets.few import few_images


def spec(**changes: Any) -> RunSpec:
    small = {"steps": 2, "batch_size": 16, "image_size": 32, "layers": 1}
    return RunSpec.model_validate({"method": {"kind": "vanilla"}, **small, **changes})


@pytest.fixture
def store(database_url: str) -> RunStore:
    return RunStore(database_url)


@pytest.mark.parametrize(
    ("variable", "value", "asked", "message"),
    [
        ("ASI_MAX_STEPS", "10", {"steps": 11}, "at most 10 steps here, got 11"),
        ("ASI_MAX_IMAGE_SIZE", "64", {"image_size": 96}, "at most 64 pixels wide here, got 96"),
        (
            "ASI_MAX_RUN_BYTES",
            "1000000000",
            {"batch_size": 512, "image_size": 96},
            "of memory here, got about",
        ),
        (
            "ASI_MAX_STEPS",
            "10",
            {"model": "vit_b_32", "image_size": 224, "train_norm": True},
            "with batch normalisations, got ViT-B/32, which has none",
        ),
    ],
)
def test_a_run_beyond_the_limits_is_refused(
    store: RunStore,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    asked: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidInput, match=message):
        request_runs(store, [spec(), spec(**asked)], "me")
    assert store.active() == []
    with pytest.raises(InvalidInput, match=message):
        request_job(JobStore(store.url), "measure", spec(**asked), "me")


def test_a_run_beyond_the_machine_s_memory_is_refused(store: RunStore) -> None:
    huge = spec(model="vit_b_32", layers="all", image_size=224, batch_size=1999, pretrained=False)
    if run_bytes(huge) < 30e9:
        pytest.skip("this machine could hold it")
    with pytest.raises(InvalidInput, match=r"about .*GiB by estimate for Vanilla"):
        request_runs(store, [huge], "me")


def test_one_owner_cannot_fill_the_queue(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASI_MAX_RUNS_PER_OWNER", "3")
    monkeypatch.setenv("ASI_MAX_RUNS", "4")
    request_runs(store, [spec(seed=1), spec(seed=2)], "me")
    with pytest.raises(InvalidInput, match=r"at most 3 runs of one owner.*got 2 more than 2"):
        request_runs(store, [spec(seed=3), spec(seed=4)], "me")
    assert len(store.active()) == 2, "all or none"
    request_runs(store, [spec(seed=3)], "me")
    with pytest.raises(InvalidInput, match=r"at most 4 runs of all visitors.*got 2 more than 3"):
        request_runs(store, [spec(seed=5), spec(seed=6)], "they")
    for run in store.active():
        store.request_cancel(run.id)
    assert len(request_runs(store, [spec(seed=7)] * 3, "me")) == 3


def test_a_read_only_installation_refuses_changes(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = request_runs(store, [spec()], "me")
    library = RunLibrary(store.url)
    monkeypatch.setenv("ASI_READ_ONLY", "true")
    for change in (
        lambda: request_runs(store, [spec(seed=1)], "me"),
        lambda: request_job(JobStore(store.url), "samples", spec(), "me"),
        lambda: request_cancel(store, [run], "me"),
        lambda: library.describe(run.comparison, Description("name"), "me"),
        lambda: library.delete_comparison(run.comparison, "me"),
    ):
        with pytest.raises(Refused, match="read-only"):
            change()
    assert [found.id for found in store.active()] == [run.id]
    assert not store.cancel_requested(run.id)


def test_runs_of_other_users_cannot_be_cancelled_or_named(store: RunStore) -> None:
    (mine,), (theirs,) = (request_runs(store, [spec()], owner) for owner in ("me", "they"))
    (nobody,) = request_runs(store, [spec()], "command line")
    with pytest.raises(Refused, match="1 of these are another user's"):
        request_cancel(store, [mine, theirs], "me")
    assert store.run(mine.id).status == "queued"  # type: ignore[union-attr]
    request_cancel(store, [mine, nobody], "me")
    assert [run.id for run in store.active()] == [theirs.id]
    library = RunLibrary(store.url)
    with pytest.raises(Refused, match="only your own comparisons can be named"):
        library.describe(theirs.comparison, Description("mine"), "me")
    library.describe(mine.comparison, Description("mine"), "me")
    assert set(library.descriptions()) == {mine.comparison}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_the_memory_estimate_is_close_to_the_measured_peak() -> None:
    """The peak of a separate process on this machine."""
    what = spec(dataset=few_images(), image_size=96, batch_size=128, layers=10, steps=2)
    program = (
        "import sys\n"
        "from asi_core.training.loop import fine_tune\n"
        "from asi_core.training.features import FeaturePool\n"
        "from asi_core.training.spec import RunSpec\n"
        "spec = RunSpec.model_validate_json(sys.argv[1])\n"
        "events = fine_tune(spec, features=FeaturePool(2**31))\n"
        "next(e for e in events if e.kind == 'step' and e.step == 2)\n"
        # The peak from getrusage includes that of the parent process.
        "peak = open('/proc/self/status').read().split('VmHWM:')[1].split()[0]\n"
        "print(int(peak) * 1024)"
    )
    command = [sys.executable, "-c", program, json.dumps(what.model_dump(mode="json"))]
    keeps = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**30)}
    ended = subprocess.run(
        command, env={**os.environ, **keeps}, check=True, capture_output=True, text=True
    )
    assert 0.7 < run_bytes(what) / int(ended.stdout) < 1.5


def test_a_method_that_keeps_less_needs_less() -> None:
    many = {"layers": 20, "batch_size": 128, "image_size": 128}
    vanilla = run_bytes(spec(**many))
    compressed = run_bytes(spec(method={"kind": "asi", "ranks": 4}, **many))
    by_variance = run_bytes(spec(method={"kind": "asi", "explained_variance": 0.8}, **many))
    assert compressed < vanilla == by_variance
    assert run_bytes(spec(layers=0)) < run_bytes(spec(layers=4))
    assert run_bytes(spec(image_size=100)) > run_bytes(spec(image_size=96))


def test_changing_the_user_name_does_not_bypass_the_limit_of_runs(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASI_MAX_RUNS_PER_OWNER", "2")
    monkeypatch.setenv("ASI_MAX_RUNS_PER_NETWORK", "3")
    here, elsewhere = network_of("192.0.2.1"), network_of("192.0.2.2")
    for number in range(3):
        request_runs(store, [spec(seed=number)], f"name {number}", network=here)
    with pytest.raises(InvalidInput, match=r"at most 3 runs from one network address.*1 more"):
        request_runs(store, [spec(seed=8)], "name 8", network=here)
    request_runs(store, [spec(seed=8)], "name 8", network=elsewhere)
    request_runs(store, [spec(seed=9)], "command line")
    assert len(store.active()) == 5


def test_changing_the_user_name_does_not_bypass_the_limit_of_jobs(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASI_MAX_QUESTIONS_PER_NETWORK", "2")
    jobs, here = JobStore(store.url), network_of("192.0.2.1")
    for number in range(2):
        asked = spec(layers=number + 1)
        request_job(jobs, "measure", asked, f"name {number}", network=here)
    with pytest.raises(
        InvalidInput, match="at most 2 calibrations and measurements from one network address"
    ):
        request_job(jobs, "measure", spec(layers=3), "name 3", network=here)
    request_job(jobs, "measure", spec(layers=3), "name 3", network=network_of("192.0.2.2"))
    request_job(jobs, "measure", spec(layers=4), "name 4")


@pytest.mark.parametrize(
    ("address", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("hidden", "hidden", True),
    ],
)
def test_a_network_is_one_ipv4_address_or_one_ipv6_prefix(
    address: str, other: str, same: bool
) -> None:
    assert (network_of(address) == network_of(other)) is same
    assert address not in str(network_of(address))


def test_without_an_address_there_is_no_network() -> None:
    assert network_of(None) is None
    assert network_of("") is None


@pytest.mark.usefixtures("plugins")
def test_without_a_closed_form_the_estimate_includes_all_inputs() -> None:
    large = {"batch_size": 64, "image_size": 96, "layers": 4}
    plain = run_bytes(spec(**large))
    assert run_bytes(spec(method={"kind": "nonzero"}, **large)) == plain
    assert run_bytes(spec(method={"kind": "thinned"}, **large)) < plain
