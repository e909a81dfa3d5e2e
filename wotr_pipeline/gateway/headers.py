"""Headers that every answer carries, so that browsers hold the pages to their own rules.

Belongs here: that list (OWASP Secure Headers). Does not belong here: what one answer needs alone; it sets that itself.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def policy(*, style_nonce: str = "") -> str:
    """The Content-Security-Policy; with a nonce, <style> elements that carry it are allowed, too."""
    styles = f"'self' 'nonce-{style_nonce}'" if style_nonce else "'self'"
    return (
        f"default-src 'none'; script-src 'self'; style-src {styles}; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


ALWAYS = [
    (b"content-security-policy", policy().encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


def with_security_headers(app: Application, *, https: bool) -> Application:
    """``app`` with these headers on each answer."""
    added = [*ALWAYS, HTTPS_ONLY] if https else ALWAYS

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message.get("headers", ())
                # A header that the answer has already wins: it knows better what it needs.
                named = {name.lower() for name, _ in own}
                message["headers"] = [*own, *(header for header in added if header[0] not in named)]
            await send(message)

        await app(scope, receive, send_with_headers if scope["type"] == "http" else send)

    return answer
