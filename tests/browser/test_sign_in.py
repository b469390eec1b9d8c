"""Visitors sign in with a real OpenID provider that has made-up users."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from oidc_provider_mock import User, run_server_in_thread
from playwright.sync_api import Browser, Page, expect

from asi_core.runs.records import EXAMPLE_OWNER
from asi_core.runs.store.run_store import RunStore
from tests.browser.app import Server, free_port, running_app
from tests.browser.session import session
from tests.browser.visiting import MINUTE, open_page, wait_until_drawn
from tests.waiting import wait_for

ADA, BOB = "ada@example.org", "bob@example.org"
RUNS = "train?steps=5000&image_size=32&batch_size=32"
# A run uses one processor, and every open page another.
_PATIENCE = 3 * MINUTE
SECRETS = """[auth]
redirect_uri = "{app}/oauth2callback"
cookie_secret = "a secret of this test"
client_id = "asi-lab"
client_secret = "another one"
server_metadata_url = "http://localhost:{provider}/.well-known/openid-configuration"
"""


@pytest.fixture
def signing_in(tmp_path: Path, features_dir: Path) -> Iterator[Server]:
    """An app with sign-on."""
    users = [User(sub=name, claims={"email": name, "email_verified": True}) for name in (ADA, BOB)]
    secrets, home, port = tmp_path / "secrets.toml", tmp_path / "home", free_port()
    home.mkdir()
    with run_server_in_thread(user_claims=users) as provider:
        message = SECRETS.format(app=f"http://127.0.0.1:{port}", provider=provider.server_port)
        secrets.write_text(message)
        options = ("--secrets.files", str(secrets))
        # The owner of a run does not depend on its speed.
        own = {"ASI_FEATURES_DIR": str(features_dir), "ASI_THREADS": "1"}
        with running_app(home, *options, port=port, **own) as app:
            yield app


def sign_in(page: Page, name: str) -> None:
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name=name).click()
    expect(page.get_by_role("button", name=f"Sign out {name}")).to_be_visible(timeout=_PATIENCE)


def test_who_has_not_signed_in_sends_no_files(signing_in: Server) -> None:
    with session(signing_in) as stranger:
        found = stranger.send(1000)
    assert found.status == 403
    assert "sign in to launch runs" in found.text


def test_runs_belong_to_whoever_has_signed_in(browser: Browser, signing_in: Server) -> None:
    store = RunStore(f"sqlite:///{signing_in.home / 'asi.sqlite'}")
    ada, bob = (open_page(browser, f"{signing_in.url}/{RUNS}") for _ in range(2))
    launch = ada.page.get_by_role("button", name="Train and compare")
    expect(launch).to_be_disabled()

    # Both before training starts, which uses a processor.
    sign_in(bob.page, BOB)
    sign_in(ada.page, ADA)
    # The provider redirects to the first page.
    ada.page.goto(f"{signing_in.url}/{RUNS}")
    expect(launch).to_be_enabled(timeout=_PATIENCE)
    launch.click()
    (runs,) = wait_for(lambda: store.latest_comparisons(9, but_of=[EXAMPLE_OWNER]), 180, "runs")
    assert {run.owner for run in runs} == {ADA}
    cancel = ada.page.get_by_role("button", name="Cancel")
    expect(cancel.first).to_be_enabled(timeout=_PATIENCE)

    # A page that shows an active run is redrawn often: open one at a time.
    ada.page.goto("about:blank")
    bob.page.goto(f"{signing_in.url}/train?comparison={runs[0].comparison}")
    theirs = bob.page.get_by_role("button", name="Cancel")
    expect(theirs.first).to_be_disabled(timeout=_PATIENCE)

    bob.page.goto("about:blank")
    ada.page.goto(f"{signing_in.url}/{RUNS}")
    wait_until_drawn(ada.page)
    ada.page.get_by_role("button", name=f"Sign out {ADA}").click()
    # The provider asks whether to sign out there too.
    ada.page.get_by_role("button", name="End session").click()
    expect(ada.page.get_by_role("button", name="Sign in")).to_be_visible(timeout=_PATIENCE)
    ada.page.goto(f"{signing_in.url}/{RUNS}&comparison={runs[0].comparison}")
    expect(launch).to_be_disabled(timeout=_PATIENCE)
    expect(cancel.first).to_be_disabled(timeout=_PATIENCE)
    for window in (ada, bob):
        # The provider's own pages request missing files.
        window.problems[:] = [message for message in window.problems if signing_in.url in message]
        window.end()
    store.close()
