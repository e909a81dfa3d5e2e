"""Signed-in people: a session begins with a key, and ends by itself, by signing out, or with its key.

Belongs here: the table ``sessions``. Does not belong here: cookies (``gateway/access.py``).
"""

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from ..config import Settings
from .api_keys import digest_of
from .errors import TransientError
from .gateway_tables import sessions
from .ledger_database import connect, translated

REMEMBERED_SECONDS = 900.0
"""How long a session that was seen holds while PostgreSQL is away: as long as keys do."""
AWAY_SECONDS = 5.0
"""How long PostgreSQL is then not asked again, so that a page does not wait for it each time."""
MOST_REMEMBERED = 10_000


@dataclass(frozen=True)
class Session:
    """One signed-in browser."""

    digest: str
    key_id: str
    expires_at: datetime


class Sessions:
    """The sessions in POSTGRES_DB. Raises TransientError and PermanentError as the ledger does."""

    def __init__(self, settings: Settings) -> None:
        self._engine = connect(settings, "wotr sessions")
        self._lifetime = timedelta(hours=settings.wotr_session_hours)
        self._seen: dict[str, tuple[Session, float]] = {}
        self._away_until = float("-inf")

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def begin(self, key_id: str) -> str:
        """Start a session; gives its token, which is stored nowhere."""
        token = secrets.token_urlsafe(32)
        ends = datetime.now(UTC) + self._lifetime
        with translated("sign in"), self._engine.begin() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.expires_at < sa.func.now()))
            connection.execute(
                sa.insert(sessions).values(digest=digest_of(token), key_id=key_id, expires_at=ends)
            )
        return token

    def find(self, token: str) -> Session | None:
        """The session of a token, or None if there is none or it has ended.

        While PostgreSQL is away, sessions that were seen in the last minutes hold: that is when people need the
        pages most. Signing out ends them all the same.
        """
        digest = digest_of(token)
        remembered = self._remembered(digest)
        if remembered is not None and time.monotonic() < self._away_until:
            return remembered
        try:
            session = self._find(digest)
        except TransientError:
            if remembered is None:
                raise
            self._away_until = time.monotonic() + AWAY_SECONDS
            return remembered
        self._seen.pop(digest, None)
        if session is not None:
            self._seen[digest] = (session, time.monotonic())
            while len(self._seen) > MOST_REMEMBERED:
                self._seen.pop(next(iter(self._seen)), None)
        return session

    def _remembered(self, digest: str) -> Session | None:
        session, seen_at = self._seen.get(digest, (None, 0.0))
        valid = session is not None and session.expires_at > datetime.now(UTC)
        return session if valid and time.monotonic() - seen_at < REMEMBERED_SECONDS else None

    def _find(self, digest: str) -> Session | None:
        query = sa.select(sessions.c.digest, sessions.c.key_id, sessions.c.expires_at).where(
            sessions.c.digest == digest,
            sessions.c.ended_at.is_(None),
            sessions.c.expires_at > sa.func.now(),
        )
        with translated("find a session"), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return Session(**row._mapping) if row else None

    def end(self, session: Session) -> None:
        """Sign out: the token is worth nothing from now on."""
        self._seen.pop(session.digest, None)
        with translated("sign out"), self._engine.begin() as connection:
            connection.execute(
                sa.update(sessions).where(sessions.c.digest == session.digest).values(ended_at=sa.func.now())
            )
