"""The first page by its name: other pages are at `/name`, so people write `/explore` too."""

from __future__ import annotations

from dashboard.asgi import Message, Middleware, Receive, Send, answer
from dashboard.navigation import PAGES


class FirstPage(Middleware):
    """Leads from the first page's name to the app's own address; parameters stay."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith(f"/{PAGES[0].file}"):
            query = scope.get("query_string", b"")
            # Relative: the app may be served below a path.
            place = (b"location", b"./" + (b"?" + query if query else b""))
            await answer(send, 307, "The first page is at the app's own address.", place)
            return
        await self._app(scope, receive, send)
