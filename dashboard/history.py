"""A box to choose one of the stored comparisons, and the names of their runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from math import inf

import streamlit as st

from asi_core.runs.exchange.examples import SHIPPED_FOLDER, example_names
from asi_core.runs.records import EXAMPLE_OWNER, NOBODY, RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.training.spec import RunSpec
from asi_core.units import layer_count
from dashboard import services
from dashboard.compare.kept import library
from dashboard.feed import run_label
from dashboard.left_out import left_out_of, tell_left_out
from dashboard.links import COMPARISON, comparison_in_url
from dashboard.plain import plain
from dashboard.visitor import known_owner, short_owner

_MOST = 30
_PICKER_HELP = (
    "Your comparisons first, then those of other visitors, each newest first; then the shipped "
    "examples, and what others have imported."
)
_LAUNCHED = "comparisons-launched"

# Further settings, in this order, that distinguish runs with the same method settings.
_FURTHER: tuple[Callable[[RunSpec], str], ...] = (
    lambda spec: layer_count(spec.layers) if spec.layers != 0 else "",
    lambda spec: f"seed {spec.seed}",
)


def show_launched(runs: Sequence[RunRecord]) -> None:
    """Have the picker show the comparison that was just launched.

    The box gets a new key: with the same key, a slow browser could send the old choice back before
    it has drawn the new one.
    """
    st.session_state[_LAUNCHED] = st.session_state.get(_LAUNCHED, 0) + 1
    st.query_params[COMPARISON] = runs[0].comparison


def comparison_picker() -> str | None:
    """A box with the comparisons of `known_comparisons`; return the chosen one, None if there is
    none."""
    known = known_comparisons()
    name, message = comparison_in_url()
    if message and name not in known:
        if name and (runs := services.store().comparison(name)):
            known[name] = runs
        elif name and (left_out := left_out_of(name, [])):
            tell_left_out(left_out)
        else:
            st.warning(
                plain(f"The link asks for the comparison {message}, which is not here:")
                + " choose from the list."
            )
    key = f"comparison-{st.session_state.get(_LAUNCHED, 0)}"
    return comparison_box(known, name, key) if known else None


def comparison_box(known: dict[str, list[RunRecord]], preset: str | None, key: str) -> str:
    """Draw a box of comparisons (id -> runs) and put the chosen one into the address; `preset`, if
    known, or else the first one is shown at first."""
    names, titles = list(known), comparison_titles(known)
    chosen: str = st.selectbox(
        "Comparison",
        names,
        index=names.index(preset) if preset in known else 0,
        format_func=titles.__getitem__,
        key=key,
        help=_PICKER_HELP,
    )
    # Not bound to the address like other boxes: titles change while runs are active.
    st.query_params[COMPARISON] = chosen
    return chosen


def known_comparisons() -> dict[str, list[RunRecord]]:
    """Comparison id -> runs: the visitor's own, then others', both newest first, then the shipped
    examples, and last what others have imported."""
    store, mine = services.store(), my_names()
    others = (*mine, EXAMPLE_OWNER)
    ordered = (
        *store.latest_comparisons(_MOST, of=mine),
        *store.latest_comparisons(_MOST, but_of=others, imported=False),
        *_shipped(store),
        *store.latest_comparisons(_MOST, but_of=others, imported=True),
    )
    return {runs[0].comparison: runs for runs in ordered}


def my_names() -> tuple[str, ...]:
    """The owner names whose runs count as the visitor's own."""
    me = known_owner()
    # On a personal machine, runs that the command line launched are the visitor's own too.
    return NOBODY if me in NOBODY else (me or "",)


def recorded_time(at: float, pattern: str) -> str:
    """Unix seconds as text in a `strftime` pattern, in the server's time zone."""
    try:
        return datetime.fromtimestamp(at).strftime(pattern)
    except (ValueError, OverflowError, OSError):
        # A database that was edited by hand.
        return "unknown time"


def _shipped(store: RunStore) -> tuple[list[RunRecord], ...]:
    names = example_names(SHIPPED_FOLDER)
    there = store.finished.editions(names)
    return _shipped_editions(store.url, tuple((name, there.get(name)) for name in names))


@lru_cache(maxsize=4)
def _shipped_editions(
    url: str, editions: tuple[tuple[str, str | None], ...]
) -> tuple[list[RunRecord], ...]:
    """The shipped comparisons, cached: they are many and change only with their editions."""
    store = services.store()
    found = (store.comparison(name) for name, _ in editions)
    return tuple(runs for runs in found if runs)


def comparison_titles(known: Mapping[str, Sequence[RunRecord]]) -> dict[str, str]:
    """Distinct titles by comparison: names that users gave come first; equal titles are told apart
    by date, and by id if that is equal too."""
    described = library().descriptions()
    titles = {}
    for comparison, runs in known.items():
        name = described[comparison].name if comparison in described else ""
        title = comparison_title(runs)
        titles[comparison] = f"{name} · {title}" if name else title
    twins = {title for title, count in Counter(titles.values()).items() if count > 1}
    for comparison, title in titles.items():
        if title in twins:
            dated = recorded_time(known[comparison][0].created_at, "%d %b %Y %H:%M:%S")
            titles[comparison] = f"{title} · {dated}"
    twins = {title for title, count in Counter(titles.values()).items() if count > 1}
    return {
        comparison: f"{title} ({comparison[-6:]})" if title in twins else title
        for comparison, title in titles.items()
    }


def comparison_title(runs: Sequence[RunRecord]) -> str:
    """A comparison's launch time, subject and state, and its owner if it is another visitor's."""
    # Most comparisons include the linear probe, but none is about it.
    training = [run for run in runs if run.spec.layers != 0] or list(runs)
    spec = training[-1].spec
    about = (
        f"{spec.model_label}, {_depths(training)}, {spec.steps} steps of {spec.batch_size} "
        f"at {spec.inputs_label}"
    )
    if runs[0].owner == EXAMPLE_OWNER:
        labels = run_labels(training)
        return f"Example · {labels[0]} to {labels[-1]} · {about}"
    when = recorded_time(runs[0].created_at, "%d %b %H:%M")
    active = sum(run.is_active for run in runs)
    state = f"{active} of {len(runs)} active" if active else "ended"
    whose = runs[0].owner
    by = "" if whose in (known_owner(), *NOBODY) else f" · by {short_owner(whose)}"
    return f"{when} · {about} · {state}{by}"


def _depths(runs: Sequence[RunRecord]) -> str:
    """Such as "1 to 4 layers"; names and patterns come after numbers."""
    depths = {run.spec.layers for run in runs}
    named = sorted(layer_count(k) for k in depths if isinstance(k, str) and k != "all")
    counts = sorted(depths - {k for k in depths if isinstance(k, str) and k != "all"}, key=_depth)
    several = [f"{counts[0]} to {layer_count(counts[-1])}"] if len(counts) > 1 else []
    return ", ".join((*(several or map(layer_count, counts)), *named))


def _depth(layers: int | str) -> float:
    return layers if isinstance(layers, int) else inf


def run_labels(runs: Sequence[RunRecord]) -> list[str]:
    """A distinct name for each run, as short as possible."""
    short = [run_label(run) for run in runs]
    long = [
        label if run.spec.layers == 0 else run.spec.method.settings_label
        for run, label in zip(runs, short, strict=True)
    ]
    names = long if _has_twins(short) else short
    for message in _FURTHER:
        texts = [message(run.spec) for run in runs]
        if _has_twins(names) and len(set(texts) - {""}) > 1:
            names = [", ".join(filter(None, both)) for both in zip(names, texts, strict=True)]
    if _has_twins(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, start=1)]
    return names


def _has_twins(names: Sequence[str]) -> bool:
    return any(count > 1 for count in Counter(names).values())
