"""Keys of the gateway: made, listed, rotated, revoked. A key itself is shown once and stored nowhere.

A key is ``wotr_<id>_<secret>``: the id is public and names it in lists and logs; the secret has 256 random bits.
That is why SHA-256 is enough for its digest: nothing can be guessed, so nothing needs to be slowed down.

Belongs here: the table ``api_keys`` and the text of a key. Does not belong here: judging a request
(``gateway/access.py``).
"""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from ..config import Settings
from .errors import PermanentError
from .gateway_tables import api_keys
from .ledger_database import connect, translated


class Scope(StrEnum):
    """What a key may do. ``admin`` may do everything, ``operate`` may read too."""

    INGEST = "ingest"
    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"


_ALSO = {Scope.OPERATE: {Scope.READ}, Scope.ADMIN: set(Scope)}


def granted(scopes: Collection[str]) -> frozenset[Scope]:
    """Everything that these scopes allow."""
    named = {Scope(scope) for scope in scopes}
    return frozenset(named.union(*(_ALSO.get(scope, set()) for scope in named)))


@dataclass(frozen=True)
class ApiKey:
    """One key, without its secret."""

    id: str
    name: str
    digest: str
    scopes: list[str]
    events_per_minute: int | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    replaces: str | None
    used_at: datetime | None

    def valid_at(self, now: datetime) -> bool:
        """Whether it opens anything at that time."""
        return not (self.revoked_at and self.revoked_at <= now) and not (
            self.expires_at and self.expires_at <= now
        )


@dataclass(frozen=True)
class NewKey:
    """A key that was just made. ``text`` cannot be had again."""

    id: str
    text: str

    def __repr__(self) -> str:
        return f"NewKey({self.id!r})"


def digest_of(text: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def id_of(text: str) -> str | None:
    """The public part of a key's text, or None if it is not of that shape."""
    parts = text.split("_", 2)
    return parts[1] if len(parts) == 3 and parts[0] == "wotr" and parts[2] else None


_COLUMNS = [api_keys.c[field.name] for field in fields(ApiKey)]


class ApiKeys:
    """The keys in POSTGRES_DB. Every method raises TransientError or PermanentError as the ledger's do."""

    def __init__(self, settings: Settings) -> None:
        self._engine = connect(settings, "wotr keys")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def all(self) -> list[ApiKey]:
        """Every key ever made, the newest first."""
        query = sa.select(*_COLUMNS).order_by(api_keys.c.created_at.desc(), api_keys.c.id)
        with translated("read the keys"), self._engine.connect() as connection:
            return [ApiKey(**row._mapping) for row in connection.execute(query)]

    def create(
        self,
        name: str,
        scopes: Collection[Scope],
        who: str,
        *,
        expires_at: datetime | None = None,
        events_per_minute: int | None = None,
    ) -> NewKey:
        """Make a key."""
        with translated("make a key"), self._engine.begin() as connection:
            return _insert(connection, name, sorted(scopes), who, expires_at, events_per_minute, None)

    def rotate(self, key_id: str, who: str, overlap: timedelta) -> NewKey:
        """Make a key that may do the same; the old one is refused once ``overlap`` is over.

        Raises:
            PermanentError: there is no such key, or it is refused already.
        """
        now = datetime.now(UTC)
        with translated("rotate a key"), self._engine.begin() as connection:
            row = connection.execute(
                sa.select(*_COLUMNS).where(api_keys.c.id == key_id).with_for_update()
            ).one_or_none()
            old = ApiKey(**row._mapping) if row else None
            if old is None or not old.valid_at(now):
                raise PermanentError(f"There is no key {key_id} that is still valid: see wotr keys list.")
            # The new key lives as long as the old one was meant to live, from now on.
            expires_at = now + (old.expires_at - old.created_at) if old.expires_at else None
            new = _insert(connection, old.name, old.scopes, who, expires_at, old.events_per_minute, old.id)
            end = min(now + overlap, old.expires_at) if old.expires_at else now + overlap
            connection.execute(sa.update(api_keys).where(api_keys.c.id == key_id).values(expires_at=end))
            return new

    def revoke(self, key_id: str) -> None:
        """Refuse a key from now on; the gateway learns of it within seconds.

        Raises:
            PermanentError: there is no such key, or it is revoked already.
        """
        wanted = (api_keys.c.id == key_id) & api_keys.c.revoked_at.is_(None)
        with translated("revoke a key"), self._engine.begin() as connection:
            done = connection.execute(sa.update(api_keys).where(wanted).values(revoked_at=sa.func.now()))
            if not done.rowcount:
                raise PermanentError(f"There is no key {key_id} that is not revoked: see wotr keys list.")

    def note_used(self, key_ids: Collection[str]) -> None:
        """Note that keys were used just now."""
        if key_ids:
            with translated("note the use of keys"), self._engine.begin() as connection:
                connection.execute(
                    sa.update(api_keys).where(api_keys.c.id.in_(key_ids)).values(used_at=sa.func.now())
                )


def _insert(
    connection: sa.Connection,
    name: str,
    scopes: list[str],
    who: str,
    expires_at: datetime | None,
    events_per_minute: int | None,
    replaces: str | None,
) -> NewKey:
    key_id = secrets.token_hex(6)
    key = NewKey(key_id, f"wotr_{key_id}_{secrets.token_urlsafe(32)}")
    connection.execute(
        sa.insert(api_keys).values(
            id=key_id,
            name=name,
            digest=digest_of(key.text),
            scopes=scopes,
            events_per_minute=events_per_minute,
            created_by=who,
            expires_at=expires_at,
            replaces=replaces,
        )
    )
    return key
