"""How fast the Explore page follows a slider.

    python benchmarks/explore_latency.py             computing one move on the server
    python benchmarks/explore_latency.py --browser   from a key press to the changed figure

The first part times what a move of the layers slider recomputes: shapes, every method's cost, both
figures, and their JSON, without any cache hit. The second starts the app and a Chromium on this
machine.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from asi_core.zoo.cards import MODELS  # noqa: E402
from asi_core.zoo.shapes import tabled_sizes  # noqa: E402
from dashboard.explore.compared import compared  # noqa: E402
from dashboard.explore.pictures import figures  # noqa: E402
from dashboard.explore.settings import ExploreSettings, ViewSettings  # noqa: E402
from dashboard.live_chart import chart_data  # noqa: E402

PER_LAYER = ViewSettings("exact", flops=False, byte_unit="KiB", per_layer=True, log=False)
MOVES, KEY_PRESSES = 40, 40
# Wait in the page until the memory figure has drawn as many bars as the slider shows.
WAIT_FOR_BARS = """count => new Promise((resolve, reject) => {
    const end = performance.now() + 20000;
    const look = () => {
        if (performance.now() > end) return reject(`no picture of ${count} layers in 20 s`);
        const plots = [...document.querySelectorAll('.js-plotly-plot')];
        const plot = plots.find(p => p.layout?.title?.text?.startsWith('Kept'));
        // Each layer is a part of the stacks.
        const bars = plot?.querySelectorAll('.trace.bars').length;
        bars === count ? resolve(performance.now()) : requestAnimationFrame(look);
    };
    look();
})"""

NOTE_KEY_PRESSES = """() => addEventListener(
    'keydown', () => (window.pressed = performance.now()), true)"""


def settings_of(model: str) -> ExploreSettings:
    """All layers of a model at its own size, with given ranks."""
    card = MODELS[model]
    size = card.native_size if card.native_size in tabled_sizes(card) else 96
    return ExploreSettings(
        model=model,
        dataset="fashion_mnist_small",
        layers=card.layer_count,
        batch_size=64,
        image_size=size,
        skip_damaged=False,
        settings=(("ranks", 8),),
    )


def moves(model: str) -> Iterator[ExploreSettings]:
    """Moves to new ranks, with all layers shown."""
    for rank in range(1, MOVES + 1):
        yield replace(settings_of(model), settings=(("ranks", rank),))


def one_move(settings: ExploreSettings) -> float:
    """Seconds for everything that a move computes."""
    start = time.perf_counter()
    for plot in figures(compared(settings, None), PER_LAYER):
        chart_data(plot, None, selectable=False)
    return time.perf_counter() - start


def server_times() -> None:
    """Print median and worst time per model, with all layers shown."""
    one_move(settings_of("resnet18"))
    # As `dashboard.startup.prepare` does in the server.
    gc.collect()
    gc.freeze()
    worst = 0.0
    for model, card in MODELS.items():
        seconds = [one_move(settings) for settings in moves(model)]
        worst = max(worst, *seconds)
        print(
            f"{card.title:20} {card.layer_count:3} layers: median "
            f"{1e3 * statistics.median(seconds):6.1f} ms, worst {1e3 * max(seconds):6.1f} ms"
        )
    print(f"worst of all: {1e3 * worst:.1f} ms")


def browser_times() -> None:
    """Print median and worst time over key presses on the layers slider of the initial page."""
    from playwright.sync_api import sync_playwright

    from tests.browser.app import running_app
    from tests.browser.chromium import ARGUMENTS, find_chromium

    chromium = find_chromium()
    with (
        tempfile.TemporaryDirectory() as home,
        running_app(Path(home)) as app,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{app.url}/?ranks_from=One+rank")
        page.evaluate(WAIT_FOR_BARS, 4)
        slider = page.get_by_role("slider", name="Trained layers")
        slider.focus()
        seconds, count, step = [], 4, 1
        page.evaluate(NOTE_KEY_PRESSES)
        for _ in range(KEY_PRESSES):
            step = -1 if count >= 12 else 1 if count <= 4 else step
            count += step
            page.keyboard.press("ArrowRight" if step > 0 else "ArrowLeft")
            shown = page.evaluate(WAIT_FOR_BARS, count)
            seconds.append((shown - page.evaluate("window.pressed")) / 1e3)
            page.wait_for_function(
                "document.querySelector('[data-testid=stApp]').dataset"
                ".testScriptState === 'notRunning'"
            )
        print(
            f"key press to changed figure: median {1e3 * statistics.median(seconds):.0f} ms, "
            f"worst {1e3 * max(seconds):.0f} ms of {len(seconds)}"
        )


def main() -> None:
    """Run the selected benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--browser", action="store_true", help="from a key press, in a Chromium")
    browser_times() if parser.parse_args().browser else server_times()


if __name__ == "__main__":
    main()
