"""Runs as files: export from one store, import into another, and refusal of other files."""

from __future__ import annotations

import io
import json
import random
import time
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from asi_core.cli import main
from asi_core.errors import InvalidInput
from asi_core.runs.exchange.archive import read_archive
from asi_core.runs.exchange.transfer import export_comparison, import_comparison
from asi_core.runs.records import LogLine, RunRecord
from asi_core.runs.store import tables
from asi_core.runs.store.library import Description, RunFilter, RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit.service import known_runs
from asi_core.settings import read_settings
from asi_core.training.events import EvaluationEvent, ImageCounts
from asi_core.training.summary import summarise
from asi_core.units import MIB
from tests.runs.kept import asi, events, fail, keep, spec, step_timeline


@pytest.fixture
def store(database_url: str) -> RunStore:
    return RunStore(database_url)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """A store with one comparison, for files that are refused before a store is asked."""
    store = RunStore(f"sqlite:///{tmp_path_factory.mktemp('archive') / 'asi.sqlite'}")
    comparison(store)
    return store


@pytest.fixture(scope="module")
def archive(filled: RunStore) -> bytes:
    return exported(filled, filled.latest_comparisons(1)[0][0].comparison)


@pytest.fixture(scope="module")
def members(archive: bytes) -> dict[str, bytes]:
    """The members of an archive."""
    return unpacked(archive)


def comparison(store: RunStore) -> list[RunRecord]:
    """A named comparison of two completed runs, a failed one with a log, and an active one."""
    specs = [spec(), asi(0.8)]
    runs = keep(store, specs, [0.9, 0.8], [100, 10], owner="they")
    RunLibrary(store.url).describe(runs[0].comparison, Description("Lecture", "for <all>"))
    return runs


def exported(store: RunStore, name: str) -> bytes:
    return export_comparison(store, RunLibrary(store.url), name)


def imported(store: RunStore, content: bytes) -> list[RunRecord]:
    return import_comparison(store, RunLibrary(store.url), io.BytesIO(content), "me")


def test_a_comparison_is_imported_into_another_store(store: RunStore, tmp_path: Path) -> None:
    runs = comparison(store)
    other = RunStore(f"sqlite:///{tmp_path / 'other.sqlite'}")
    found = imported(other, exported(store, runs[0].comparison))
    kept = other.comparison(found[0].comparison)
    for before, after in zip(runs, kept, strict=True):
        for field in ("spec", "status", "created_at", "started_at", "finished_at"):
            assert getattr(after, field) == getattr(before, field), field
        assert without_total(after) == without_total(before)
        assert other.all_events(after.id) == store.all_events(before.id)
        assert (after.owner, after.comparison) == ("me", found[0].comparison)
    assert not {run.id for run in runs} & {run.id for run in kept}
    described = RunLibrary(other.url).descriptions()[kept[0].comparison]
    assert described == Description("Lecture", "for <all>")
    assert known_runs(other, [run.spec for run in runs]) == 0, "an imported run is not reused"


@pytest.mark.usefixtures("plugins")
def test_runs_without_counts_by_formula_are_imported(store: RunStore) -> None:
    runs = keep(store, [spec(), spec({"kind": "nonzero"})], [0.9, 0.8], [100, None])
    found = imported(store, exported(store, runs[0].comparison))
    kept = store.comparison(found[0].comparison)
    for before, after in zip(runs, kept, strict=True):
        assert without_total(after) == without_total(before)
        assert store.all_events(after.id) == store.all_events(before.id)
    assert without_total(kept[1])["activation_bytes"] is None


def test_a_launch_time_in_the_future_becomes_now(store: RunStore) -> None:
    """Otherwise it would be the newest run until then."""
    runs = comparison(store)
    later = time.time() + 1e9
    content = changed(
        exported(store, runs[0].comparison),
        lambda content: [run.update(created_at=later) for run in content["runs"]],
    )
    before = time.time()
    found = imported(store, content)
    assert all(before <= run.created_at <= time.time() for run in found)


def without_total(run: RunRecord) -> dict[str, Any]:
    """A run's summary without the total, which is computed from other clocks."""
    assert run.summary is not None
    seconds = {k: v for k, v in run.summary["seconds"].items() if k != "total"}
    return {**run.summary, "seconds": seconds}


def test_it_may_be_opened_twice_and_where_it_came_from(store: RunStore) -> None:
    runs = comparison(store)
    content = exported(store, runs[0].comparison)
    first, second = imported(store, content), imported(store, content)
    assert first[0].comparison != second[0].comparison != runs[0].comparison
    assert len(store.latest_comparisons(10)) == 3


def test_files_of_the_first_format_mean_what_they_did(store: RunStore) -> None:
    """Without a word about when factors are updated, it was at every step."""

    def as_written_then(content: dict[str, Any]) -> None:
        content["format"] = 1
        for run in content["runs"]:
            run["spec"]["method"].pop("update", None)

    runs = comparison(store)
    found = imported(store, changed(exported(store, runs[0].comparison), as_written_then))
    assert [run.spec.method for run in found] == [
        spec().method,
        asi(0.8).method.model_copy(update={"update": "every_step"}),
    ]


@pytest.mark.parametrize(
    "runs", [None, {}, [1], [{}], [{"spec": 1}], [{"spec": {"method": {"kind": []}}}]]
)
def test_no_runs_of_the_first_format_are_refused(
    filled: RunStore, archive: bytes, runs: Any
) -> None:
    refuse(filled, changed(archive, lambda content: content.update(format=1, runs=runs)))


def test_failures_and_logs_are_exported_and_active_runs_are_not(store: RunStore) -> None:
    going, failed = store.create([spec(), asi(0.8)], "me")
    with pytest.raises(InvalidInput, match="runs that have ended"):
        exported(store, going.comparison)
    token = store.attempts.claim(failed.id)
    assert token is not None
    line = LogLine(1.0, "warning", "it <b>smells</b>")
    store.append(failed.id, token, [], {0: line})
    store.finish(failed.id, token, "failed", {}, "it broke.")
    (copy,) = imported(store, exported(store, going.comparison))
    assert (copy.status, copy.error) == ("failed", "it broke.")
    assert store.log_tail(copy.id, 10) == [line]


def test_other_programs_can_read_it(store: RunStore) -> None:
    runs = comparison(store)
    with zipfile.ZipFile(io.BytesIO(exported(store, runs[0].comparison))) as file:
        content = json.loads(file.read("runs.json"))
        curves = np.load(io.BytesIO(file.read("curves.npz")), allow_pickle=False)
    assert [run["spec"]["method"]["kind"] for run in content["runs"]] == ["vanilla", "asi"]
    assert curves["0/step/step"].tolist() == list(range(1, 21))
    assert curves["1/evaluation/accuracy"][-1] == pytest.approx(0.8)


def test_balanced_accuracies_and_counts_of_images_are_exported(store: RunStore) -> None:
    (run,) = store.create([spec(steps=1)], "me")
    token = store.attempts.claim(run.id)
    assert token is not None
    prepared, step = events(spec(steps=1), 0.5, 10)[:2]
    counts = ImageCounts(classes=2, train=9, test=8, left_out=3, is_unbalanced=True)
    written = [
        prepared.model_copy(update={"images": counts}),
        step,
        EvaluationEvent(step=1, accuracy=0.9, loss=0.1, balanced_accuracy=0.4),
    ]
    store.append(run.id, token, written)
    store.finish(run.id, token, "completed", summarise(written))
    (copy,) = imported(store, exported(store, run.comparison))
    assert store.events(copy.id, "evaluation") == written[2:]
    assert copy.summary is not None
    assert copy.summary["balanced_accuracy"] == 0.4
    assert copy.summary["images"]["left_out"] == 3


def test_the_memory_of_a_step_is_exported(store: RunStore, tmp_path: Path) -> None:
    (run,) = store.create([spec()], "me")
    token = store.attempts.claim(run.id)
    assert token is not None
    happened = [*events(run.spec, 0.9, 100), step_timeline(5000)]
    store.append(run.id, token, happened)
    store.finish(run.id, token, "completed", summarise(happened))
    other = RunStore(f"sqlite:///{tmp_path / 'other.sqlite'}")
    (found,) = imported(other, exported(store, run.comparison))
    assert other.events(found.id, "timeline") == [step_timeline(5000)]
    assert found.summary is not None
    assert found.summary["peak_bytes"] == 5000


def test_an_unknown_comparison_is_refused(store: RunStore) -> None:
    with pytest.raises(InvalidInput, match="'nothing'"):
        exported(store, "nothing")


def packed(members: dict[str, bytes]) -> bytes:
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return result.getvalue()


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def changed(content: bytes, change: Any) -> bytes:
    """An archive whose JSON `change` has changed."""
    members = unpacked(content)
    runs_json = json.loads(members["runs.json"])
    change(runs_json)
    return packed({**members, "runs.json": json.dumps(runs_json).encode()})


def with_array(content: bytes, array: bytes) -> bytes:
    members = unpacked(content)
    curves = unpacked(members["curves.npz"])
    return packed({**members, "curves.npz": packed({**curves, "0/step/loss.npy": array})})


def array_of(values: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, **options)
    return stream.getvalue()


CHANGES: dict[str, Any] = {
    "status": lambda content: content["runs"][0].update(status="running"),
    "method": lambda content: content["runs"][0]["spec"].update(method={"kind": "evil"}),
    "format": lambda content: content.update(format=3),
    "more": lambda content: content.update(more=1),
    "none": lambda content: content.update(runs=[]),
    "name": lambda content: content.update(name="x" * 81),
    "many": lambda content: content.update(runs=content["runs"] * 300),
    "year 10000": lambda content: content["runs"][0].update(created_at=3e11),
    "no time": lambda content: content["runs"][0].update(finished_at=float("nan")),
    "more steps": lambda content: content["runs"][0]["spec"].update(steps=30),
    "claims": lambda content: content["runs"][0].update(summary={"test_accuracy": "100 %"}),
    "nul": lambda content: content["runs"][0].update(error="\x00"),
    "nul in a name": lambda content: content.update(name="\x00"),
    "late": lambda content: content["runs"][0]["rows"][0].update(step=2**40),
    "unmatched": lambda content: content.update(runs=content["runs"] * 2),
}
ARRAYS = {
    "objects": array_of(np.array([{}], dtype=object), allow_pickle=True),
    "text": array_of(np.array(["a"] * 20)),
    "matrix": array_of(np.zeros((20, 2))),
    "not finite": array_of(np.full(20, np.nan)),
    "short": array_of(np.zeros(19)),
    "infinite": array_of(np.zeros(20))[:-8],
    "promising": array_of(np.zeros(20)).replace(b"(20,)", b"(9**9,)"),
    "long header": array_of(np.zeros(20)).replace(b"'fortran_order'", b"'fortran_order" + b" "),
    "nothing": b"",
}


def test_what_is_refused_leaves_no_run(store: RunStore) -> None:
    runs = comparison(store)
    content = exported(store, runs[0].comparison)
    for other in (changed(content, CHANGES["status"]), with_array(content, ARRAYS["text"]), b""):
        refuse(store, other)


@pytest.mark.parametrize("name", CHANGES)
def test_other_content_is_refused(filled: RunStore, archive: bytes, name: str) -> None:
    refuse(filled, changed(archive, CHANGES[name]))


@pytest.mark.parametrize("name", ARRAYS)
def test_other_arrays_are_refused(filled: RunStore, archive: bytes, name: str) -> None:
    refuse(filled, with_array(archive, ARRAYS[name]))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"no zip at all",
        packed({}),
        packed({"runs.json": b"{}"}),
        packed({"runs.json": b"{", "curves.npz": b""}),
        packed({"runs.json": b"{}", "curves.npz": b"", "../../etc/passwd": b""}),
    ],
    ids=range(7),
)
def test_other_files_are_refused(filled: RunStore, content: bytes) -> None:
    refuse(filled, content)


def lying(name: str, method: int) -> bytes:
    """An archive with a member that declares ten bytes, and inflates to 50 MB."""
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", method) as file:
        for member in ("runs.json", "curves.npz"):
            file.writestr(member, b" " * (50_000_000 if member == name else 10))
    return result.getvalue().replace((50_000_000).to_bytes(4, "little"), b"\x0a\x00\x00\x00")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_are_not_inflated_beyond_their_declared_size(filled: RunStore, method: int) -> None:
    content = lying("runs.json", method)
    assert len(content) < 100_000
    tracemalloc.start()
    refuse(filled, content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * MIB


def test_a_too_large_list_of_runs_is_not_parsed(filled: RunStore) -> None:
    with pytest.raises(InvalidInput, match="the list of runs of an archive may have at most 64"):
        imported(filled, packed({"runs.json": b" " * 70_000_000, "curves.npz": b""}))
    with pytest.raises(InvalidInput, match="the file of an archive may have at most 64"):
        imported(filled, packed({}) + b"\0" * 70_000_000)


MANY = 400_000


def bombs() -> dict[str, Any]:
    """A list of runs whose few compressed kilobytes ask for much memory."""

    def one(**changes: Any) -> Any:
        return lambda content: json.dumps({**content, "runs": [{**content["runs"][0], **changes}]})

    layer = {"name": "a", "shape": [1], "singular_values": [[""] * MANY]}
    return {
        "many runs": lambda content: json.dumps({**content, "runs": [0] * MANY}),
        "deep": lambda content: '{"runs":' + "[" * MANY + "]" * MANY + "}",
        "many rows": one(rows=[{}] * MANY),
        "many lines": one(log=[0] * MANY),
        # Made when it is asked for, as pytest asks for the names first.
        "many keys": lambda content: one(spec={str(n): 0 for n in range(MANY)})(content),
        "many ranks": one(spec={"method": {"kind": "asi", "ranks": ["x"] * MANY}}),
        "many words": one(rows=[{"kind": "probe", "step": 1, "layers": [layer]}]),
    }


@pytest.mark.parametrize("name", bombs())
def test_a_list_that_asks_for_much_memory_is_refused_with_little(
    members: dict[str, bytes], name: str
) -> None:
    """Each wrong value would be reported, at a thousand times its bytes."""
    content = bombs()[name](json.loads(members["runs.json"]))
    assert refusing_bytes(packed({**members, "runs.json": content.encode()})) < 160 * MIB


def test_columns_and_members_that_ask_for_much_memory_are_not_allocated(
    members: dict[str, bytes],
) -> None:
    curves = unpacked(members["curves.npz"])
    long = {name: array_of(np.zeros(2 * MANY, np.int8)) for name in curves}
    many = {**curves, **{str(n): b"" for n in range(MANY // 10)}}
    runs_json = json.loads(members["runs.json"])
    runs_json["runs"][0]["spec"]["steps"] = 2 * MANY
    for columns in (long, many):
        for runs in (members["runs.json"], json.dumps(runs_json).encode()):
            content = packed({"runs.json": runs, "curves.npz": packed(columns)})
            assert refusing_bytes(content) < 48 * MIB


def refusing_bytes(content: bytes) -> int:
    """The peak memory of refusing an archive."""
    tracemalloc.start()
    with pytest.raises(InvalidInput) as refusal:
        read_archive(io.BytesIO(content))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(str(refusal.value)) < 400
    return peak


def test_runs_that_would_be_refused_are_not_exported(store: RunStore) -> None:
    runs = comparison(store)
    with store._engine.begin() as connection:
        connection.execute(
            update(tables.runs)
            .where(tables.runs.c.id == runs[0].id)
            .values(summary={"test_accuracy": 7})
        )
    (copy,) = imported(store, exported(store, runs[0].comparison))
    assert copy.spec == runs[1].spec
    with store._engine.begin() as connection:
        connection.execute(update(tables.runs).values(summary={"test_accuracy": 7}))
    with pytest.raises(InvalidInput, match="test accuracy of its summary is 7"):
        exported(store, runs[0].comparison)


def test_imports_and_the_future_come_last(store: RunStore) -> None:
    runs = comparison(store)
    found = imported(store, exported(store, runs[0].comparison))
    library = RunLibrary(store.url)
    mine, theirs = runs[0].comparison, found[0].comparison
    assert [r[0].comparison for r in store.latest_comparisons(9, imported=False)] == [mine]
    assert [r[0].comparison for r in store.latest_comparisons(9, imported=True)] == [theirs]
    assert {r.comparison for r in library.runs(RunFilter(imports_of=("me",)))} == {mine, theirs}
    assert {r.comparison for r in library.runs(RunFilter(imports_of=()))} == {mine}
    with store._engine.begin() as connection:
        later = update(tables.runs).where(tables.runs.c.comparison == theirs)
        connection.execute(later.values(created_at=4e9))
    assert [r[0].comparison for r in store.latest_comparisons(9)] == [mine, theirs]
    assert [r.comparison for r in library.runs()] == [mine, mine, theirs, theirs]


def refuse(store: RunStore, content: bytes) -> None:
    before = len(store.latest_comparisons(100))
    with pytest.raises(InvalidInput) as refusal:
        imported(store, content)
    assert "\n" not in str(refusal.value)
    assert len(store.latest_comparisons(100)) == before


SAMPLE: dict[str, bytes] = {}


@given(st.integers(0, 2**32), st.integers(1, 20))
def test_a_damaged_file_never_leads_to_a_crash(seed: int, count: int) -> None:
    if not SAMPLE:
        store = RunStore(read_settings().database_url)
        SAMPLE["archive"] = exported(store, comparison(store)[0].comparison)
    draw, content = random.Random(seed), bytearray(SAMPLE["archive"])
    for _ in range(count):
        content[draw.randrange(len(content))] = draw.randrange(256)
    with suppress(InvalidInput):
        archive, happened = read_archive(io.BytesIO(bytes(content)))
        assert len(archive.runs) == len(happened)


def test_the_command_line_exports_and_imports(
    store: RunStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = comparison(store)
    path = tmp_path / "runs.zip"
    assert main(["export", runs[0].comparison, "--out", str(path)]) == 0
    assert main(["import", str(path)]) == 0
    printed = capsys.readouterr().out
    assert f"{path}\ncomparison " in printed
    assert "2 runs" in printed
    assert main(["import", str(tmp_path / "none.zip")]) == 2
    assert main(["export", "nothing"]) == 2
    assert main(["export", runs[0].comparison, "--out", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 3


def test_a_run_that_failed_at_once_may_be_exported(store: RunStore) -> None:
    (run,) = store.create([spec()], "me")
    fail(store, run, "no images.")
    (copy,) = imported(store, exported(store, run.comparison))
    assert copy.error == "no images."
