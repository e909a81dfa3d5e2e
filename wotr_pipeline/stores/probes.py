"""Is a store there, and would it do its work? Asked with one small request each, as the platform's own user.

Every probe opens what a client would need (a new connection, a name and a password, the bucket, the topic, the table),
so "up" means more than an open port. It gives up by itself after about ``PROBE_SECONDS``.

Belongs here: these requests. Does not belong here: when they are made, and what follows (``gateway/probes.py``).
Texts name no address, no user and no password: /health tells them to anyone.
"""

from collections.abc import Callable, Mapping
from typing import Any

import psycopg2
import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from confluent_kafka import Consumer, KafkaException

from ..config import Settings
from ..sql import statement
from .errors import PermanentError, TransientError
from .s3_clients import small_client

PROBE_SECONDS = 2

Probe = Callable[[], None]
"""Returns if the store is up.

Raises:
    TransientError: it does not answer. PermanentError: it answers and would not do its work.
"""


_TABLE_THERE = statement("probe_table")


def probes(settings: Settings) -> Mapping[str, Probe]:
    """By the name of the store. Nothing is opened yet."""
    return {
        "postgres": lambda: _postgres(settings),
        "minio": _MinioProbe(settings),
        "kafka": _KafkaProbe(settings),
        "clickhouse": _ClickHouseProbe(settings),
    }


def _postgres(settings: Settings) -> None:
    try:
        connection = psycopg2.connect(
            host=settings.postgres_host,
            port=settings.postgres_port,
            user=settings.postgres_user,
            password=settings.postgres_password.get_secret_value() or None,
            dbname=settings.postgres_db,
            application_name="wotr health",
            connect_timeout=PROBE_SECONDS,
            options=f"-c statement_timeout={PROBE_SECONDS}s",
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM (SELECT FROM ingest_meta LIMIT 1) AS one")
        finally:
            connection.close()
    except psycopg2.errors.UndefinedTable:
        raise PermanentError("It has no tables of the platform: wotr init makes them.") from None
    except psycopg2.Error as error:
        text = str(error)
        if "too many" in text or "remaining connection slots" in text:
            raise TransientError("All its connections are taken.") from None
        if "password authentication" in text or ("role" in text and "does not exist" in text):
            raise PermanentError("It refuses the platform's user: check the POSTGRES_* variables.") from None
        if "database" in text and "does not exist" in text:
            raise PermanentError("It has no such database: check POSTGRES_DB.") from None
        raise TransientError("It does not answer.") from None


class _MinioProbe:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None

    def __call__(self) -> None:
        settings = self._settings
        if self._client is None:
            self._client = small_client(
                settings.minio_endpoint,
                settings.minio_access_key,
                settings.minio_secret_key.get_secret_value(),
                PROBE_SECONDS,
                PROBE_SECONDS,
            )
        try:
            self._client.head_bucket(Bucket=settings.minio_bucket)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status == 404:
                raise PermanentError("It has no such bucket: check MINIO_BUCKET, or run wotr init.") from None
            if status == 403:
                raise PermanentError("It refuses the platform's keys: check MINIO_ACCESS_KEY.") from None
            raise TransientError(f"It answers with status {status}.") from None
        except BotoCoreError:
            raise TransientError("It does not answer.") from None


class _KafkaProbe:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None

    def __call__(self) -> None:
        if self._client is None:
            # A consumer that consumes nothing: only those can be told not to make a topic by asking for it.
            self._client = Consumer(
                {
                    "bootstrap.servers": self._settings.kafka_bootstrap,
                    "client.id": "wotr-health",
                    "group.id": f"{self._settings.kafka_group}-health",  # required, never used
                    "allow.auto.create.topics": False,
                    "socket.connection.setup.timeout.ms": PROBE_SECONDS * 1000,
                    "reconnect.backoff.max.ms": 1_000,
                    "log_level": 0,
                }
            )
        topic = self._settings.kafka_topic
        try:
            found = self._client.list_topics(topic, PROBE_SECONDS).topics[topic]
        except KafkaException:
            raise TransientError("No broker answers.") from None
        if found.error is not None:
            raise PermanentError("It has no such topic: check KAFKA_TOPIC, or run wotr init.")
        leaderless = sum(partition.leader < 0 for partition in found.partitions.values())
        if leaderless:
            raise TransientError(f"{leaderless} of {len(found.partitions)} partitions have no leader.")


class _ClickHouseProbe:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        timeout = urllib3.Timeout(connect=PROBE_SECONDS, read=PROBE_SECONDS)
        self._pool = urllib3.PoolManager(timeout=timeout, retries=False)

    def __call__(self) -> None:
        settings = self._settings
        try:
            answer = self._pool.request(
                "GET",
                f"http://{settings.clickhouse_host}:{settings.clickhouse_port}/",
                fields={"query": _TABLE_THERE, "param_database": settings.clickhouse_db},
                headers={
                    "X-ClickHouse-User": settings.clickhouse_user,
                    "X-ClickHouse-Key": settings.clickhouse_password.get_secret_value(),
                },
            )
        except urllib3.exceptions.HTTPError:
            raise TransientError("It does not answer.") from None
        if answer.status in (401, 403) or answer.headers.get("X-ClickHouse-Exception-Code") == "516":
            raise PermanentError("It refuses the platform's user: check the CLICKHOUSE_* variables.")
        if answer.status != 200:
            raise TransientError(f"It answers with status {answer.status}.")
        if answer.data.strip() != b"1":
            raise PermanentError("It has no table of events: wotr init makes it.")
