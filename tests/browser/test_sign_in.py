"""Visitors sign in with a real OpenID provider that has made-up users."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from oidc_provider_mock import User, run_server_in_thread
from playwright.sync_api import Browser, Page, expect

from asi_core.methods import Vanilla
from asi_core.runs.store.run_store import RunStore
from asi_core.training.spec import RunSpec
from tests.browser.app import Server, free_port, running_app
from tests.browser.session import session
from tests.browser.visiting import MINUTE, open_page
from tests.waiting import wait_for

ADA, BOB = "ada@example.org", "bob@example.org"
RUNS = "train?methods=Vanilla&steps=5000&image_size=32&batch_size=32"
# A run uses one processor, and every open page another.
_PATIENCE = 3 * MINUTE
SECRETS = """[auth]
redirect_uri = "{app}/oauth2callback"
cookie_secret = "a secret of this test"
client_id = "asi-lab"
client_secret = "another one"
server_metadata_url = "http://localhost:{provider}/.well-known/openid-configuration"
"""


@pytest.fixture(scope="module")
def signing_in(tmp_path_factory: pytest.TempPathFactory, features_dir: Path) -> Iterator[Server]:
    """An app with sign-on."""
    users = [User(sub=ADA, claims={"email": ADA, "email_verified": True})]
    home, port = tmp_path_factory.mktemp("home"), free_port()
    secrets = home / "secrets.toml"
    with run_server_in_thread(user_claims=users) as provider:
        message = SECRETS.format(app=f"http://127.0.0.1:{port}", provider=provider.server_port)
        secrets.write_text(message)
        options = ("--secrets.files", str(secrets))
        # The owner of a run does not depend on its speed.
        own = {"ASI_FEATURES_DIR": str(features_dir), "ASI_THREADS": "1"}
        with running_app(home, *options, port=port, **own) as app:
            yield app


@pytest.fixture
def store(signing_in: Server) -> Iterator[RunStore]:
    store = RunStore(f"sqlite:///{signing_in.home / 'asi.sqlite'}")
    yield store
    store.close()


def sign_in(page: Page, name: str) -> None:
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name=name).click()
    expect(page.get_by_role("button", name=f"Sign out {name}")).to_be_visible(timeout=_PATIENCE)


def test_who_has_not_signed_in_sends_no_files(signing_in: Server) -> None:
    with session(signing_in) as stranger:
        found = stranger.send(1000)
    assert found.status == 403
    assert "sign in to launch runs" in found.text


def test_runs_belong_to_whoever_has_signed_in(
    browser: Browser, signing_in: Server, store: RunStore
) -> None:
    """Of Ada, who signs in, runs, and signs out; Bob's run waits for its turn meanwhile."""
    spec = RunSpec(method=Vanilla(), seed=1, steps=5000, batch_size=32, image_size=32)
    (bobs,) = store.create([spec], BOB)
    theirs = f"{signing_in.url}/{RUNS}&comparison={bobs.comparison}"
    ada = open_page(browser, theirs)
    launch = ada.page.get_by_role("button", name="Train and compare")
    cancel = ada.page.get_by_role("button", name="Cancel").first
    expect(launch).to_be_disabled()
    expect(cancel).to_be_disabled()

    sign_in(ada.page, ADA)
    # The provider redirects to the first page.
    ada.open(theirs)
    expect(launch).to_be_enabled(timeout=_PATIENCE)
    expect(cancel).to_be_disabled()
    launch.click()
    own = wait_for(lambda: [r for r in store.active() if r.owner != BOB], 180, "a run")
    assert {run.owner for run in own} == {ADA}
    expect(cancel).to_be_enabled(timeout=_PATIENCE)

    ada.page.get_by_role("button", name=f"Sign out {ADA}").click()
    # The provider asks whether to sign out there too.
    ada.page.get_by_role("button", name="End session").click()
    expect(ada.page.get_by_role("button", name="Sign in")).to_be_visible(timeout=_PATIENCE)
    ada.page.goto(f"{signing_in.url}/{RUNS}&comparison={own[0].comparison}")
    expect(launch).to_be_disabled(timeout=_PATIENCE)
    expect(cancel).to_be_disabled(timeout=_PATIENCE)
    # The provider's own pages request missing files.
    ada.problems[:] = [message for message in ada.problems if signing_in.url in message]
    ada.end()
