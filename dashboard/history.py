"""Choosing among the comparisons that the store knows, and naming their runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
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
from dashboard.feed import run_label
from dashboard.left_out import left_out_of, tell_left_out
from dashboard.links import COMPARISON, comparison_in_url
from dashboard.plain import plain
from dashboard.visitor import known_owner, short_owner

_MOST = 30
PICKER_HELP = (
    "Your own comparisons, then those of others here, both the newest first, then those that came "
    "with the app, and what others have imported."
)
_LAUNCHED = "comparisons-launched"


# What tells runs of one method and the same settings of it apart, in this order.
_FURTHER: tuple[Callable[[RunSpec], str], ...] = (
    lambda spec: layer_count(spec.layers) if spec.layers != 0 else "",
    lambda spec: f"seed {spec.seed}",
)


def show_launched(runs: Sequence[RunRecord]) -> None:
    """Have the picker show the comparison that was just launched.

    Its box becomes another one. If the same box were told another choice, a browser that is slow to
    draw could be sent the box as it is drawn next before it had taken the choice over, and would go
    on asking for the comparison that was shown before.
    """
    st.session_state[_LAUNCHED] = st.session_state.get(_LAUNCHED, 0) + 1
    st.query_params[COMPARISON] = runs[0].comparison


def comparison_picker() -> str | None:
    """A box with the comparisons of `known_comparisons`.

    Returns:
        the chosen one; None if there is none. The link names it.
    """
    known = known_comparisons()
    asked, message = comparison_in_url()
    if message and asked not in known:
        if asked and (runs := services.store().comparison(asked)):
            known[asked] = runs
        elif asked and (left_out := left_out_of(asked, [])):
            tell_left_out(left_out)
        else:
            st.warning(
                plain(f"The link asks for the comparison {message}, which is not here:")
                + " choose from the list."
            )
    if not known:
        return None
    names = list(known)
    chosen: str = st.selectbox(
        "Comparison",
        names,
        index=names.index(asked) if asked in known else 0,
        format_func=lambda name: comparison_title(known[name]),
        key=f"comparison-{st.session_state.get(_LAUNCHED, 0)}",
        help=PICKER_HELP,
    )
    # Not bound like other controls: titles change while runs go, and the newest is not the newest
    # for long. The address always names what is shown.
    st.query_params[COMPARISON] = chosen
    return chosen


def known_comparisons() -> dict[str, list[RunRecord]]:
    """One's own, then others', both newest first, then those that came with the app, and last what
    others have imported, which nobody is shown first."""
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
    """Whose runs are one's own."""
    me = known_owner()
    # On a machine of one's own, what the command line launched is one's own too.
    return NOBODY if me in NOBODY else (me or "",)


def recorded_time(at: float, pattern: str) -> str:
    """Unix seconds as `pattern` says, in the server's time zone."""
    try:
        return datetime.fromtimestamp(at).strftime(pattern)
    except (ValueError, OverflowError, OSError):
        # In a database that was changed by hand.
        return "unknown time"


def _shipped(store: RunStore) -> tuple[list[RunRecord], ...]:
    names = example_names(SHIPPED_FOLDER)
    there = store.finished.editions(names)
    return _shipped_editions(store.url, tuple((name, there.get(name)) for name in names))


@lru_cache(maxsize=4)
def _shipped_editions(
    url: str, editions: tuple[tuple[str, str | None], ...]
) -> tuple[list[RunRecord], ...]:
    """Read once, as they are many and change with their editions alone."""
    store = services.store()
    found = (store.comparison(name) for name, _ in editions)
    return tuple(runs for runs in found if runs)


def comparison_title(runs: Sequence[RunRecord]) -> str:
    """What a comparison is about, when it was launched, and how far it is."""
    # The classifier alone is in most comparisons, and what none is about.
    training = [run for run in runs if run.spec.layers != 0] or list(runs)
    spec = training[-1].spec
    about = (
        f"{spec.model_label}, {_depths(training)}, {spec.steps} steps of {spec.batch_size} "
        f"at {spec.image_size} px"
    )
    if runs[0].owner == EXAMPLE_OWNER:
        labels = run_labels(training)
        return f"Example · {labels[0]} to {labels[-1]} · {about}"
    when = recorded_time(runs[0].created_at, "%d %b %H:%M")
    going = sum(run.is_active for run in runs)
    state = f"{going} of {len(runs)} still going" if going else "ended"
    whose = runs[0].owner
    by = "" if whose in (known_owner(), *NOBODY) else f" · by {short_owner(whose)}"
    return f"{when} · {about} · {state}{by}"


def _depths(runs: Sequence[RunRecord]) -> str:
    depths = sorted({run.spec.layers for run in runs}, key=lambda k: inf if k == "all" else k)
    if len(depths) == 1:
        return layer_count(depths[0])
    return f"{depths[0]} to {layer_count(depths[-1])}"


def run_labels(runs: Sequence[RunRecord]) -> list[str]:
    """A name each, no longer than it takes to tell the runs apart."""
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
