"""Charts that grow when a button is clicked; the first reports its selection."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from dashboard.live_chart import live_chart

LINES = {"Vanilla": "#4D4D4D", "ASI": "#0072B2"}


def curves(points: int, another: bool) -> go.Figure:
    figure = go.Figure(layout={"title": {"text": "Growing curves"}})
    if another:
        figure.add_scatter(x=[0, 1], y=[0.5, 0.5], name="Another")
    for height, (name, color) in enumerate(LINES.items()):
        figure.add_scatter(
            x=list(range(points)),
            y=[height + 0.1 * (i % 3) for i in range(points)],
            customdata=[f"{name} {i}" for i in range(points)],
            name=name,
            mode="lines+markers",
            line={"color": color},
        )
    return figure


def bars(points: int) -> go.Figure:
    figure = go.Figure(layout={"title": {"text": "Bars"}})
    return figure.add_bar(x=["one", "two"], y=[points, 2], marker={"color": list(LINES.values())})


def subplots(points: int) -> go.Figure:
    figure = make_subplots(rows=1, cols=4)
    for column in range(4):
        figure.add_scatter(x=[1, 2], y=[points, 2], showlegend=False, row=1, col=column + 1)
    return figure.update_layout(title={"text": "Four subplots"})


def count(name: str) -> None:
    st.session_state[name] = st.session_state.get(name, 0) + 1


@st.fragment
def charts() -> None:
    count("runs")
    st.button("Grow", on_click=count, args=("grown",))
    points = 5 + st.session_state.get("grown", 0)
    figure = curves(points, st.checkbox("Another curve"))
    selected = live_chart(figure, key="curves", on_select=lambda: count("selections"))
    st.text(f"selected: {selected}")
    st.text(f"in the state: {st.session_state['curves'].get('selection')}")
    st.text(f"selections: {st.session_state.get('selections', 0)}, runs: {st.session_state.runs}")
    shown, hidden = st.tabs(["Shown", "Hidden"])
    with shown:
        live_chart(bars(points), key="bars", height=260)
    with hidden:
        live_chart(bars(points), key="hidden", height=260)
    with st.expander("More"):
        live_chart(subplots(points), key="subplots")


def main() -> None:
    st.set_page_config(page_title="Charts", layout="wide")
    st.title("Charts that are updated in place")
    if st.toggle("Charts", value=True):
        charts()


if __name__ == "__main__":
    main()
