"""Signed-in people: a session begins with a key, and ends by itself, by signing out, or with its key.

Belongs here: the table ``sessions``. Does not belong here: cookies (``gateway/access.py``).
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from ..config import Settings
from .api_keys import digest_of
from .gateway_tables import sessions
from .ledger_database import connect, translated


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
        """The session of a token, or None if there is none or it has ended."""
        query = sa.select(sessions.c.digest, sessions.c.key_id, sessions.c.expires_at).where(
            sessions.c.digest == digest_of(token),
            sessions.c.ended_at.is_(None),
            sessions.c.expires_at > sa.func.now(),
        )
        with translated("find a session"), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return Session(**row._mapping) if row else None

    def end(self, session: Session) -> None:
        """Sign out: the token is worth nothing from now on."""
        with translated("sign out"), self._engine.begin() as connection:
            connection.execute(
                sa.update(sessions).where(sessions.c.digest == session.digest).values(ended_at=sa.func.now())
            )
