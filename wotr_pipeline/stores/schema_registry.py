"""A schema registry as this project asks one: any that speaks Confluent's REST API.

Belongs here: the client, the name of the events' subject, the sorting of failures into transient and permanent.
Does not belong here: the registry itself (``gateway/registry.py``), what is registered (``operations/schemas.py``).

At WOTR_SCHEMA_REGISTRY_URL. The first of API_KEYS goes along as the password of HTTP Basic authentication, user
``wotr``, unless the address brings its own user and password.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from ..config import Settings
from ..events.avro_schemas import Level
from .errors import PermanentError, StoreError, TransientError

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient

T = TypeVar("T")

USER = "wotr"
TIMEOUT_SECONDS = 10
RETRIES = 2
_TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_ABSENT = frozenset({40401, 40408})
"""No such subject; a subject without a level of its own."""


def event_subject(settings: Settings) -> str:
    """The subject under which the events' versions are registered, by Confluent's naming of a topic's values."""
    return f"{settings.kafka_topic}-value"


@dataclass(frozen=True, slots=True)
class RegistryVersion:
    """A version of a subject, as a registry has it."""

    version: int
    schema_id: int
    text: str


class SchemaRegistry:
    """Asks a registry. Safe to share between threads; nothing is opened before the first question.

    Every method raises TransientError when the registry is away, slow or overloaded, and PermanentError when it
    refuses.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        parts = urlsplit(settings.wotr_schema_registry_url)
        self._brings_user = parts.username is not None
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        """Without a user or password."""

    @cached_property
    def _client(self) -> "SchemaRegistryClient":
        from confluent_kafka.schema_registry import SchemaRegistryClient

        configuration: dict[str, object] = {
            "url": self._settings.wotr_schema_registry_url,
            "timeout": TIMEOUT_SECONDS,
            "max.retries": RETRIES,
            "retries.wait.ms": 200,
        }
        key = self._settings.api_keys.get_secret_value().partition(",")[0]
        if key and not self._brings_user:
            configuration["basic.auth.user.info"] = f"{USER}:{key}"
        return SchemaRegistryClient(configuration)

    def versions(self, subject: str) -> list[RegistryVersion]:
        """Versions of a subject, oldest first; none if it has none."""
        with self._translated(f"list the versions of {subject}"):
            numbers = _unless_absent(lambda: self._client.get_versions(subject), list[int]())
            found = [self._client.get_version(subject, number) for number in sorted(numbers)]
        return [
            RegistryVersion(
                one.version or 0, one.schema_id or 0, (one.schema and one.schema.schema_str) or ""
            )
            for one in found
        ]

    def register(self, subject: str, text: str) -> int:
        """Register a schema; gives its id, also if it was there before."""
        from confluent_kafka.schema_registry import Schema

        with self._translated(f"register a schema under {subject}"):
            return int(self._client.register_schema(subject, Schema(text, "AVRO")))

    def level(self, subject: str) -> str:
        """The compatibility level that the subject has of its own; '' if it has none."""
        with self._translated(f"read the compatibility level of {subject}"):
            return _unless_absent(lambda: str(self._client.get_compatibility(subject)), "")

    def set_level(self, subject: str, level: Level) -> None:
        """Set the compatibility level of a subject."""
        with self._translated(f"set the compatibility level of {subject}"):
            self._client.set_compatibility(subject, level.value)

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 (what the client's HTTP library raises is no closed set)
            raise _failure(error, f"The schema registry at {self.address} could not {doing}") from None


def _unless_absent(ask: Callable[[], T], otherwise: T) -> T:
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    try:
        return ask()
    except SchemaRegistryError as error:
        # Only the registry's own number says so: a 404 without it is an address at which there is no registry.
        if error.error_code in _ABSENT:
            return otherwise
        raise


def _failure(error: Exception, what: str) -> StoreError:
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    if isinstance(error, SchemaRegistryError):
        status = error.http_status_code
        if status in (401, 403):
            return PermanentError(
                f"{what}: it answered {status}. The first of API_KEYS must be a key that it knows, with the scope."
            )
        said = f"it answered {status} ({error.error_code}): {str(error.error_message)[:1000]}"
        if status in _TRANSIENT_STATUS:
            return TransientError(f"{what}: {said}")
        hint = " Check WOTR_SCHEMA_REGISTRY_URL." if error.error_code in (None, error.UNKNOWN) else ""
        return PermanentError(f"{what}: {said}{hint}")
    kind = type(error).__name__
    if any(base.__name__ == "TransportError" for base in type(error).__mro__):
        return TransientError(f"{what}: {kind}. Is it up? `wotr up` starts the gateway that serves it.")
    return PermanentError(f"{what}: {kind}. Check WOTR_SCHEMA_REGISTRY_URL.")
