"""MkDocs hooks for the documentation's site (`hooks` in mkdocs.yml).

The project's README, CONTRIBUTING and CHANGELOG become pages of it, links to files outside `docs/`
lead to the repository, the page of the command line includes the output of `--help`, and code is
highlighted.
"""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout, suppress
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pygments.formatters import HtmlFormatter

from asi_core.cli import parse

ROOT = Path(__file__).parents[1]
# Documents outside `docs/`, and the names of their pages.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
STYLES = {"light": "friendly", "dark": "native"}
HELP = "<!-- help of all commands -->"
LINK = re.compile(r"(\]\()([^)\s#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents that are not in `docs/`."""
    for document, name in PAGES.items():
        content = (ROOT / document).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to pages or to the repository, and insert the help of commands."""
    written = {name: document for document, name in PAGES.items()}
    name = page.file.src_uri
    source = written.get(name, f"docs/{name}")

    def lead(found: re.Match[str]) -> str:
        return found[1] + target(found[2], source, name, config.repo_url or "")

    linked = LINK.sub(lead, markdown)
    return linked.replace(HELP, help_of_commands()) if HELP in linked else linked


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Highlight code.

    The theme's own highlighter comes from another server. Its script for dark mode switches
    between two elements of these names, and fails without them.
    """
    styles = (
        f'<style id="hljs-{mode}">{HtmlFormatter(style=style).get_style_defs(".highlight")}</style>'
        for mode, style in STYLES.items()
    )
    return output.replace("</head>", f"{''.join(styles)}</head>", 1)


def target(link: str, source: str, name: str, repository: str) -> str:
    """The target on the site of a link in the document `source`, which is the page `name`."""
    if re.match(r"[a-z]+:", link):
        return link
    wanted = normpath(PurePosixPath(source).parent / link)
    page = PAGES.get(wanted, wanted.removeprefix("docs/"))
    if wanted not in PAGES and page == wanted:
        return f"{repository}/blob/main/{wanted}"
    return relpath(page, PurePosixPath(name).parent)


def help_of_commands() -> str:
    """The help of each command, in the order of the parser's list."""
    (listed,) = re.findall(r"\{([\w,]+)\}", help_of())[:1]
    return "\n\n".join(f"## {name}\n\n```text\n{help_of(name)}```" for name in listed.split(","))


def help_of(*command: str) -> str:
    message = io.StringIO()
    with redirect_stdout(message), suppress(SystemExit):
        parse([*command, "--help"])
    return message.getvalue()
