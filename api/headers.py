"""Headers that every answer carries: nothing of ours is sniffed, framed or told to others.

And where the process is to leave, that this was the connection's last answer.
"""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


class SafeHeaders:
    """Plain ASGI, so that answers that stream pass through as they come."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if scope["app"].state.parts.leaving.begun:
                    # A connection kept alive would be closed under its client's next request.
                    headers["Connection"] = "close"
            await send(message)

        await self.app(scope, receive, send_with_headers)
