"""Files that visitors send: Streamlit holds them in memory until their window closes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from streamlit.runtime import Runtime, get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from asi_core.errors import AsiError, one_sentence
from asi_core.runs.submit.networks import network_of
from asi_core.settings import Limits, read_settings
from asi_core.units import format_bytes
from dashboard.asgi import Application, Message, Receive, Send, answer, headers_of
from dashboard.visitor import sign_in_reason

_PATH = "/_stcore/upload_file/"


@dataclass(frozen=True, slots=True)
class _Coming:
    """A file that is being sent."""

    session: str
    size: int


class HeldFiles:
    """A layer around the app (ASGI): who may send files, and how much the server holds of them."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._coming: list[_Coming] = []
        # Of each session that holds files.
        self._networks: dict[str, str | None] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        session = _session_of(scope)
        if session is None:
            await self._app(scope, receive, send)
            return
        refusal = _may_not(scope, session) or self._no_room(scope, session)
        if refusal is not None:
            await answer(send, *refusal)
            return
        with self._expecting(_Coming(session, _size(scope))):
            await self._app(scope, receive, send)

    def _no_room(self, scope: Message, session: str) -> tuple[int, str] | None:
        if scope["method"] != "PUT":
            return None
        size = _size(scope)
        if size < 0:
            return 411, "A file must be sent with its length.\n"
        held = self._sizes()
        self._networks = {name: self._networks.get(name) for name in held}
        client = scope.get("client")
        network = self._networks[session] = network_of(client[0] if client else None)
        same_network = [
            sum(sizes) for name, sizes in held.items() if self._networks[name] == network
        ]
        everywhere = sum(map(sum, held.values()))
        return _too_much(
            read_settings().limits, size, held.get(session, []), sum(same_network), everywhere
        )

    def _sizes(self) -> dict[str, list[int]]:
        """Bytes of each file that is held or coming, by session."""
        sizes = {name: list(each) for name, each in _held(get_instance()).items()}
        for coming in self._coming:
            sizes.setdefault(coming.session, []).append(coming.size)
        return sizes

    @contextmanager
    def _expecting(self, coming: _Coming) -> Iterator[None]:
        self._coming.append(coming)
        try:
            yield
        finally:
            self._coming.remove(coming)


def forget(file: UploadedFile) -> None:
    """Let go of a file that has been read: its window may stay open for hours."""
    if (context := get_script_run_ctx()) is not None:
        manager: Any = context.uploaded_file_mgr
        manager.remove_file(context.session_id, file.file_id)


def _session_of(scope: Message) -> str | None:
    """The session that a request sends a file to or takes one from, None if it does neither."""
    if scope["type"] != "http" or scope["method"] not in ("PUT", "DELETE"):
        return None
    _, is_upload, rest = str(scope["path"]).partition(_PATH)
    return rest.split("/")[0] if is_upload else None


def _may_not(scope: Message, session: str) -> tuple[int, str] | None:
    """Why somebody may not send files here, if so: who may change nothing may not."""
    settings = read_settings()
    try:
        settings.check_may_change()
    except AsiError as error:
        return 403, one_sentence(error) + "\n"
    if settings.user_header:
        if not any(headers_of(scope, settings.user_header)):
            return 403, "The proxy must name the visitor: sign in through its address.\n"
        return None
    known = get_instance().get_app_session(session)
    # Streamlit answers itself that there is no such session.
    reason = None if known is None else sign_in_reason(known._user_info)
    return None if reason is None else (403, reason + "\n")


def _too_much(
    limits: Limits, size: int, session: list[int], same_network: int, everywhere: int
) -> tuple[int, str] | None:
    if len(session) >= limits.session_files:
        return 413, f"At most {limits.session_files} files are held for one window: reload it.\n"
    for taken, most, whose in (
        (sum(session), limits.session_bytes, "for one window: reload it"),
        (same_network, limits.held_bytes // 2, "for one network address: try again later"),
        (everywhere, limits.held_bytes, "for all visitors: try again later"),
    ):
        if taken + size > most:
            return 413, f"At most {format_bytes(most)} of files are held {whose}.\n"
    return None


def _held(runtime: Runtime) -> dict[str, list[int]]:
    manager: Any = runtime.uploaded_file_mgr
    storage: dict[str, dict[str, Any]] = manager.file_storage
    return {
        name: [len(file.data) for file in list(files.values())]
        for name, files in list(storage.items())
        if files
    }


def _size(scope: Message) -> int:
    """The length that the request tells; -1 without one."""
    message = headers_of(scope, "content-length")
    return (
        int(message[0])
        if len(message) == 1 and message[0].isascii() and message[0].isdecimal()
        else -1
    )
