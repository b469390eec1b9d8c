"""Owners alternate, however many runs each has launched."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asi_core.runs.store.attempts import MustWait
from asi_core.runs.store.fair_queue import Served, Waiting, in_line
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.run_store import RunStore
from asi_core.training.spec import RunSpec

SPEC = RunSpec.model_validate({"method": {"kind": "vanilla"}})


def waiting(name: str, owner: str, at: float, position: int = 0, trains: bool = True) -> Waiting:
    return Waiting(name, owner, at, trains, position)


def test_owners_alternate() -> None:
    many = [waiting(f"a{n}", "anna", 1.0, n) for n in range(4)]
    few = [waiting(f"b{n}", "ben", 2.0, n) for n in range(2)]
    assert list(in_line([*many, *few], {})) == ["a0", "b0", "a1", "b1", "a2", "a3"]


def test_owners_without_running_runs_come_first() -> None:
    queued = [waiting("a", "anna", 1.0), waiting("b", "ben", 9.0)]
    assert list(in_line(queued, {"anna": Served(running=2, last_at=0.5)})) == ["b", "a"]


def test_the_owner_served_longest_ago_comes_first() -> None:
    queued = [waiting("a", "anna", 1.0), waiting("b", "ben", 2.0)]
    served = {"anna": Served(0, last_at=8.0), "ben": Served(0, last_at=3.0)}
    assert list(in_line(queued, served)) == ["b", "a"]


def test_linear_probes_come_last_in_their_comparison() -> None:
    queued = [
        waiting("head", "anna", 1.0, 0, trains=False),
        waiting("layers", "anna", 1.0, 1),
        waiting("later", "anna", 2.0, 0),
    ]
    assert list(in_line(queued, {})) == ["layers", "head", "later"]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 100)), max_size=30),
    st.dictionaries(st.sampled_from("abcd"), st.builds(Served, st.integers(0, 5))),
)
def test_every_run_comes_once_and_no_owner_is_overtaken_twice(
    launched: list[tuple[str, float]], served: dict[str, Served]
) -> None:
    queued = [waiting(str(n), owner, at, n) for n, (owner, at) in enumerate(launched)]
    order = list(in_line(queued, served))
    assert sorted(order, key=int) == [run.id for run in queued]
    owner_of = {run.id: run.owner for run in queued}
    running = Counter({owner: served.get(owner, Served()).running for owner in owner_of.values()})
    left = Counter(owner_of.values())
    for name in order:
        least = min(running[owner] for owner in left if left[owner])
        assert running[owner_of[name]] == least
        running[owner_of[name]] += 1
        left[owner_of[name]] -= 1


def test_the_store_serves_owners_in_turn(database_url: str) -> None:
    store = RunStore(database_url)
    mine = store.create([SPEC] * 3, "me")
    head = SPEC.model_copy(update={"layers": 0})
    theirs = store.create([head, SPEC], "they")
    expected = [mine[0], theirs[1], mine[1], theirs[0], mine[2]]
    assert store.line() == [run.id for run in expected]
    claimed = []
    while (found := store.claim_next("somewhere")) is not None:
        claimed.append(found[0].id)
        assert found[0].status == "running"
    assert claimed == [run.id for run in expected]
    assert store.claim_next() is None


@pytest.fixture
def store(database_url: str) -> RunStore:
    return RunStore(database_url)


def lost(store: RunStore, run_id: str, worker: str) -> None:
    """Started by a worker, which ends."""
    token = store.attempts.claim(run_id, worker)
    assert token is not None
    assert store.attempts.requeue(run_id, token)


def test_a_run_that_may_have_killed_its_process_is_retried_alone(store: RunStore) -> None:
    suspect, other = store.create([SPEC, SPEC], "me")
    lost(store, suspect.id, "first")
    token = store.attempts.claim(other.id, "second")
    assert token is not None
    with pytest.raises(MustWait):
        # The other run would be lost with it.
        store.claim_next("second")
    found = store.claim_next("third")
    assert found is not None
    assert found[0].id == suspect.id
    (fresh,) = store.create([SPEC], "me")
    with pytest.raises(MustWait):
        store.claim_next("third")
    joined = store.claim_next("second")
    assert joined is not None
    assert joined[0].id == fresh.id


def test_a_retried_run_that_made_progress_lets_others_start(store: RunStore) -> None:
    run, other = store.create([SPEC, SPEC], "me")
    lost(store, run.id, "first")
    found = store.claim_next("second")
    assert found is not None
    store.append(run.id, found[1], [], gained=True)
    joined = store.claim_next("second")
    assert joined is not None
    assert joined[0].id == other.id


def test_a_lost_run_that_made_progress_is_resumed_beside_others(store: RunStore) -> None:
    run, other = store.create([SPEC, SPEC], "me")
    token = store.attempts.claim(run.id, "first")
    assert token is not None
    store.append(run.id, token, [], gained=True)
    assert store.attempts.requeue(run.id, token)
    assert store.attempts.claim(other.id, "second") is not None
    assert claimed(store, "second") == run.id


def test_workers_start_nothing_else_before_a_run_that_is_retried_alone(store: RunStore) -> None:
    """However many other runs are launched meanwhile, by any owner."""
    suspect, other = store.create([SPEC, SPEC], "me")
    lost(store, suspect.id, "first")
    begun = store.attempts.claim(other.id, "second")
    assert begun is not None
    store.create([SPEC], "they")
    with pytest.raises(MustWait):
        store.claim_next("second")
    store.finish(other.id, begun, "completed")
    assert claimed(store, "second") == suspect.id


def test_a_run_requeued_at_shutdown_starts_beside_others(store: RunStore) -> None:
    """As after every stop of the app: the run has not killed its process."""
    runs = store.create([SPEC] * 3, "me")
    for run in runs:
        token = store.attempts.claim(run.id, "first")
        assert token is not None
        store.append(run.id, token, [], gained=True)
        assert store.attempts.requeue(run.id, token, count_attempt=False)
    assert {claimed(store, "second") for _ in runs} == {run.id for run in runs}
    assert {attempt.tries for attempt in store.attempts.running()} == {1}


def claimed(store: RunStore, worker: str) -> str:
    found = store.claim_next(worker)
    assert found is not None
    return found[0].id


def test_a_lost_job_is_retried_alone(store: RunStore) -> None:
    jobs = JobStore(store.url)
    job = jobs.create("measure", SPEC, "me")
    token = jobs.attempts.claim(job.id, "first")
    assert token is not None
    assert jobs.attempts.requeue(job.id, token)
    beside, other = store.create([SPEC, SPEC], "me")
    begun = store.attempts.claim(beside.id, "second")
    assert begun is not None
    with pytest.raises(MustWait):
        jobs.attempts.check_may_begin(job.id, "second")
    for worker in ("second", "third"):
        with pytest.raises(MustWait):
            # The next process without other work is for the job.
            store.claim_next(worker)
    store.finish(beside.id, begun, "completed")
    jobs.attempts.check_may_begin(job.id, "second")
    assert jobs.attempts.claim(job.id, "second") is not None
    with pytest.raises(MustWait):
        store.claim_next("second")
    fresh = jobs.create("measure", SPEC.model_copy(update={"seed": 1}), "me")
    with pytest.raises(MustWait):
        jobs.attempts.check_may_begin(fresh.id, "second")
    assert claimed(store, "third") == other.id
    jobs.close()


def test_a_new_job_may_join_a_run_that_is_retried(store: RunStore) -> None:
    jobs = JobStore(store.url)
    (suspect,) = store.create([SPEC], "me")
    lost(store, suspect.id, "first")
    assert claimed(store, "second") == suspect.id
    job = jobs.create("measure", SPEC, "me")
    jobs.attempts.check_may_begin(job.id, "second")
    jobs.close()
