"""Text of other users is shown literally, without formatting."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.plain import plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("![](https://x/a.png)", r"!\[\](https\://x/a.png)"),
        ("[sign in](https://x)", r"\[sign in\](https\://x)"),
        (":red[now] :material/home:", r"\:red\[now\] \:material/home:"),
        ("<https://x> $x$ `x` *x*", r"\<https\://x> \$x\$ \`x\` \*x\*"),
        (r"\[x](y)", r"\\\[x\](y)"),
        ("two\n\n# lines", "two # lines"),
        ("# a heading", r"\# a heading"),
        ("- an item", r"\- an item"),
        ("1. an item", r"1\. an item"),
        ("    code", "code"),
        ("_leaning_ and ~~gone~~", r"\_leaning\_ and \~\~gone\~\~"),
        ("explained_variance", "explained_variance"),
        ("see www.example.org", r"see www\.example.org"),
        ("a@example.org", r"a\@example.org"),
        ("&lt;b&gt; &#42; & so on", r"\&lt;b\&gt; \&#42; & so on"),
        ("ranks must be at least 1, got 0: try 4.", "ranks must be at least 1, got 0: try 4."),
        ("at 10:30 of 3\u202fs", "at 10\\:30 of 3\u202fs"),
    ],
)
def test_signs_that_mean_something_are_escaped(text: str, expected: str) -> None:
    assert plain(text) == expected


def page() -> None:
    import streamlit as st

    from dashboard.plain import plain

    st.error(plain("[sign in](https://x)"))


def test_a_page_shows_it() -> None:
    (error,) = AppTest.from_function(page).run().error
    assert error.value == r"\[sign in\](https\://x)"
