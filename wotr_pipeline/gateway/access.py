"""Who may do what: keys, sessions, scopes, rate limits.

A program sends its key with each request (``X-API-Key``, or ``Authorization`` with Bearer or, as the password, Basic, for tools that
know only that).
A person signs in with a key and gets a session: a signed, HttpOnly, SameSite cookie. What a session asks to be changed
must come by POST, from the same origin, with the session's CSRF token; a key needs none, because no browser adds it by
itself.

Belongs here: from a request to a ``Caller``, or to 401, 403, 429. Does not belong here: making keys
(``stores/api_keys.py``), what callers then do.
"""

import asyncio
import hmac
import secrets
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import structlog
from fastapi import Request
from itsdangerous import BadSignature, TimestampSigner
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from ..config import Settings
from ..logs import bind_request
from ..stores.api_keys import ApiKey, ApiKeys, Scope, digest_of, granted, id_of
from ..stores.errors import StoreError
from ..stores.sessions import Session, Sessions
from .problems import Problem

COOKIE = "wotr_session"
REFRESH_SECONDS = 5.0
"""How long a key that was revoked elsewhere may still be taken."""
STALE_SECONDS = 900.0
"""How long the keys that were read last hold while PostgreSQL is away."""
SIGN_INS_PER_MINUTE = 10
"""Vain ones from one address."""
FAILURES_PER_MINUTE = 300
"""Requests without a valid key from one address."""
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf_token"
MISSING = "Invalid or missing API key"

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Caller:
    """Who asks, and what they may."""

    key_id: str
    name: str
    scopes: frozenset[Scope]
    limit: RateLimitItem
    session: Session | None = None
    csrf_token: str = ""

    def may(self, scope: Scope) -> bool:
        """Whether this scope is theirs."""
        return scope in self.scopes


@dataclass
class KeyRing:
    """The valid keys, as they were read last. Refreshed in the background and when an unknown one comes."""

    settings: Settings
    store: ApiKeys
    _callers: dict[str, tuple[ApiKey, Caller]] = field(default_factory=dict)
    _read_at: float = float("-inf")
    _used: set[str] = field(default_factory=set)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        """Take the keys of the environment, which no table needs to be read for."""
        texts = self.settings.api_keys.get_secret_value().split(",")
        default = RateLimitItemPerMinute(self.settings.wotr_events_per_minute)
        self._of_environment = [
            (digest_of(text), Caller(f"environment-{number}", "environment", frozenset(Scope), default))
            for number, text in enumerate(texts, 1)
            if text
        ]

    def known(self, text: str) -> Caller | None:
        """Whose key this is, as far as it was read; None if it opens nothing."""
        digest = digest_of(text)
        found = None
        for known, caller in self._of_environment:  # all of them: the time taken tells nothing
            if hmac.compare_digest(known, digest):
                found = caller
        if found is not None:
            return found
        key_id = id_of(text)
        return None if key_id is None else self._valid(key_id, digest)

    async def caller(self, text: str) -> Caller | None:
        """Whose key this is; one that was never seen may be so new that it was not read yet."""
        key_id = id_of(text)
        if key_id is not None and key_id not in self._callers:
            await self.refresh(not_before=time.monotonic())
        return self.known(text)

    def by_id(self, key_id: str) -> Caller | None:
        """The caller of a key that has signed in, if it is still valid."""
        for _, caller in self._of_environment:
            if caller.key_id == key_id:
                return caller
        return self._valid(key_id, None)

    def _valid(self, key_id: str, digest: str | None) -> Caller | None:
        key, caller = self._callers.get(key_id, (None, None))
        if key is None or time.monotonic() - self._read_at > STALE_SECONDS:
            return None
        if digest is not None and not hmac.compare_digest(key.digest, digest):
            return None
        if not key.valid_at(datetime.now(UTC)):
            return None
        self._used.add(key_id)
        return caller

    async def refresh(self, not_before: float) -> None:
        """Read the keys again, unless that was begun after that moment of the monotonic clock."""
        async with self._reading:
            begun = time.monotonic()
            if self._read_at >= not_before:
                return
            try:
                keys = await asyncio.to_thread(self.store.all)
            except StoreError as error:
                _log.warning("keys not read", error=str(error))
                return
            self._callers = {key.id: (key, self._caller_of(key)) for key in keys}
            self._read_at = begun

    async def keep_fresh(self) -> None:
        """Refresh for ever, and note once a minute which keys were used."""
        noted = time.monotonic()
        while True:
            await self.refresh(not_before=time.monotonic())
            if time.monotonic() - noted > 60:
                noted, used, self._used = time.monotonic(), self._used, set()
                try:
                    await asyncio.to_thread(self.store.note_used, used)
                except StoreError as error:
                    _log.warning("use of keys not noted", error=str(error))
            await asyncio.sleep(REFRESH_SECONDS)

    def _caller_of(self, key: ApiKey) -> Caller:
        limit = RateLimitItemPerMinute(key.events_per_minute or self.settings.wotr_events_per_minute)
        return Caller(key.id, key.name, granted(key.scopes), limit)


class Access:
    """Judges requests."""

    def __init__(self, settings: Settings, keys: KeyRing, sessions: Sessions) -> None:
        self._settings = settings
        self.keys = keys
        self.sessions = sessions
        secret = settings.wotr_session_secret.get_secret_value() or secrets.token_hex(32)
        self._cookie_signer = TimestampSigner(secret, salt="wotr session")
        self._csrf_key = digest_of(f"wotr csrf {secret}").encode()
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._failures = RateLimitItemPerMinute(FAILURES_PER_MINUTE)
        self._sign_ins = RateLimitItemPerMinute(SIGN_INS_PER_MINUTE)

    async def of_program(self, request: Request, scope: Scope) -> Caller:
        """The caller of a request that carries a key.

        Raises:
            Problem: 401, 403, or 429 after too many vain tries from one address.
        """
        text = _key_of(request)
        caller = self.keys.known(text) if text else None
        if caller is None:
            if not self._limiter.test(self._failures, "keys", _address(request)):
                raise _too_many_guesses()
            caller = await self.keys.caller(text) if text else None
        if caller is None:
            self._limiter.hit(self._failures, "keys", _address(request))
            raise Problem(401, MISSING, headers={"WWW-Authenticate": "ApiKey"})
        bind_request(key_id=caller.key_id)
        return _with_scope(caller, scope)

    async def of_anyone(self, request: Request, scope: Scope) -> Caller:
        """The caller of a request that carries a key or a session.

        Raises:
            Problem: as ``of_program``; 403 when a session asks for a change without its CSRF token.
        """
        if "x-api-key" in request.headers or "authorization" in request.headers:
            return await self.of_program(request, scope)
        caller = await self.of_session(request)
        if caller is None:
            raise Problem(401, MISSING, headers={"WWW-Authenticate": "ApiKey"})
        if request.method not in _SAFE_METHODS:
            self.check_origin(request)
            await self._check_csrf(request, caller)
        return _with_scope(caller, scope)

    async def of_session(self, request: Request) -> Caller | None:
        """Who is signed in, or None."""
        signed = request.cookies.get(COOKIE)
        if not signed:
            return None
        try:
            lifetime = self._settings.wotr_session_hours * 3600
            token = self._cookie_signer.unsign(signed, max_age=lifetime).decode()
        except (BadSignature, UnicodeError):
            return None
        session = await asyncio.to_thread(self.sessions.find, token)
        if session is None:
            return None
        caller = self.keys.by_id(session.key_id)
        if caller is None:
            return None
        bind_request(key_id=caller.key_id)
        csrf = hmac.new(self._csrf_key, session.digest.encode(), "sha256").hexdigest()
        return Caller(caller.key_id, caller.name, caller.scopes, caller.limit, session, csrf)

    async def sign_in(self, request: Request, text: str) -> str:
        """Start a session with a key; gives the cookie's value.

        Raises:
            Problem: 401 for a key that opens nothing, 429 after too many tries.
        """
        self.check_origin(request)
        if not self._limiter.test(self._sign_ins, "sign-in", _address(request)):
            raise _too_many_guesses()
        caller = await self.keys.caller(text)
        if caller is None or not caller.may(Scope.READ):
            self._limiter.hit(self._sign_ins, "sign-in", _address(request))
            raise Problem(401, "This key opens no pages. It must be valid and have the scope read.")
        token = await asyncio.to_thread(self.sessions.begin, caller.key_id)
        return self._cookie_signer.sign(token).decode()

    def check_origin(self, request: Request) -> None:
        """Refuse a change that another site's page asks for.

        Raises:
            Problem: 403.
        """
        site = request.headers.get("sec-fetch-site")
        origin = request.headers.get("origin")
        own = {self._settings.wotr_gateway_url.rstrip("/"), f"{request.url.scheme}://{request.url.netloc}"}
        if (site is not None and site not in ("same-origin", "none")) or (
            origin is not None and origin not in own
        ):
            raise Problem(403, "This request comes from another site.")

    def take(self, caller: Caller, events: int) -> None:
        """Count events against the caller's limit.

        Raises:
            Problem: 429 with Retry-After.
        """
        if not self._limiter.hit(caller.limit, caller.key_id, cost=events):
            stats = self._limiter.get_window_stats(caller.limit, caller.key_id)
            raise Problem(
                429,
                f"This key may send {caller.limit.amount:,} events a minute, {stats.remaining:,} are left of this one.",
                retry_after=int(stats.reset_time - time.time()) + 1,
            )

    async def _check_csrf(self, request: Request, caller: Caller) -> None:
        given = request.headers.get(CSRF_HEADER)
        if given is None:
            given = str((await request.form()).get(CSRF_FIELD, ""))
        if not hmac.compare_digest(given.encode(), caller.csrf_token.encode()):
            raise Problem(403, "The form is out of date. Go back, load the page again, and repeat.")


def _key_of(request: Request) -> str:
    text = request.headers.get("x-api-key")
    return (_key_of_authorization(request.headers.get("authorization", "")) if text is None else text).strip()


def _key_of_authorization(header: str) -> str:
    """The key in a header of tools that know only that one; of a user and a password the password."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value
    if scheme.lower() == "basic":
        try:
            return b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return ""


def _too_many_guesses() -> Problem:
    return Problem(429, "Too many vain tries from this address.", retry_after=60)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _with_scope(caller: Caller, scope: Scope) -> Caller:
    if not caller.may(scope):
        raise Problem(
            403, f"This key does not have the scope {scope}. Someone with the scope admin can make one."
        )
    return caller


def access_of(request: Request) -> Access:
    """The application's own."""
    return cast(Access, request.app.state.services.access)


def anyone_with(scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: a key or a session with this scope."""

    async def caller(request: Request) -> Caller:
        return await access_of(request).of_anyone(request, scope)

    return caller
