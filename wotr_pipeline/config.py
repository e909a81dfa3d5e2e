"""Settings of the whole project, typed, read once from the environment.

Belongs here: every environment variable the project reads, its type, its bounds and its default,
and the error that a wrong one causes.
Does not belong here: addresses of the embedded servers (``servers/`` writes them into the very
variables below), or anything that opens a connection.
"""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""Where the checkout (or the installed project) keeps dagster.yaml, docs/ and the Makefile."""

DEFAULT_DATA_DIR = Path(".wotr")
ENVIRONMENT_FILE = "environment"
"""Name of the file below the data directory in which ``wotr up`` leaves the variables below."""

Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
HttpAddress = Annotated[str, Field(pattern=r"^https?://\S+$")]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]


class SettingsError(Exception):
    """The environment cannot be used as it is; the text names each variable and what it may be."""


class Settings(BaseSettings):
    """One immutable snapshot of the environment. Field ``kafka_topic`` reads ``KAFKA_TOPIC``."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    kafka_bootstrap: str = Field(
        "127.0.0.1:9092", pattern=r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$", description="host:port[,host:port]"
    )
    kafka_topic: Name = Field("ingest-events", description="topic that carries the events")
    kafka_dlq_topic: Name = Field("dlq-events", description="topic for dead letters of other services")
    kafka_group: Name = Field("consumer-group", description="group whose offsets lag tools read")

    minio_endpoint: str = Field("http://127.0.0.1:9000", description="http(s)://host:port or host:port")
    minio_access_key: str = Field("", description="S3 access key")
    minio_secret_key: SecretStr = Field(SecretStr(""), description="S3 secret key")
    minio_bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] = Field(
        "raw-data", description="an S3 bucket's name"
    )

    postgres_host: str = Field("127.0.0.1", min_length=1, description="host name or address")
    postgres_port: Port = Field(5432, description="1 to 65535")
    postgres_user: str = Field("wotr", min_length=1, description="role that owns the ledger")
    postgres_password: SecretStr = Field(SecretStr(""), description="password of that role")
    postgres_db: Identifier = Field("wotr", description="database of the ledger")

    dagster_postgres_db: Identifier = Field(
        "dagster", description="database of Dagster's own storage, on the same server; backed up too"
    )

    clickhouse_host: str = Field("127.0.0.1", min_length=1, description="host name or address")
    clickhouse_port: Port = Field(8123, description="1 to 65535, the HTTP port")
    clickhouse_user: str = Field("default", min_length=1, description="user that may write")
    clickhouse_password: SecretStr = Field(SecretStr(""), description="password of that user")
    clickhouse_db: Identifier = Field("wotr", description="database of the events")

    clickhouse_reader_user: str = Field(
        "", description="user of the explorer, who may only read; empty: none"
    )
    clickhouse_reader_password: SecretStr = Field(SecretStr(""), description="password of that user")

    api_keys: SecretStr = Field(
        SecretStr(""),
        description="comma-separated keys of the gateway with every scope, each of 24 characters or more "
        "of A-Z a-z 0-9 _ -; `wotr keys create` makes narrower ones",
    )
    wotr_gateway_host: str = Field("127.0.0.1", min_length=1, description="address the gateway listens on")
    wotr_gateway_port: Port = Field(8000, description="1 to 65535, the gateway's port")
    wotr_gateway_url: HttpAddress = Field(
        "http://127.0.0.1:8000",
        description="http(s) address under which people and producers reach the gateway",
    )
    wotr_session_secret: SecretStr = Field(
        SecretStr(""),
        description="signs the pages' cookies, 32 characters or more; empty: a new one each start",
    )
    wotr_session_hours: int = Field(8, ge=1, le=72, description="hours after which a sign-in ends, 1 to 72")
    wotr_events_per_minute: int = Field(
        3_000_000,
        ge=1,
        le=100_000_000,
        description="most events a minute from one key that has no limit of its own",
    )
    wotr_request_bytes: int = Field(
        32 * 1024 * 1024,
        ge=1024,
        le=256 * 1024 * 1024,
        description="most bytes of one batch request, 1 KiB to 256 MiB",
    )
    wotr_client_seconds: int = Field(
        15,
        ge=1,
        le=300,
        description="seconds a client may take for a request's headers, and for its body, 1 to 300",
    )
    wotr_collect_seconds: float = Field(
        10,
        ge=0.01,
        le=60,
        description="seconds between two looks of the gateway at the stores for its metrics, 0.01 to 60",
    )
    wotr_maintenance_accepts: bool = Field(
        True, description="whether the gateway takes events into Kafka during maintenance, true or false"
    )
    wotr_schema_registry_url: HttpAddress = Field(
        "http://127.0.0.1:8000/registry",
        description="http(s) address of a Confluent-compatible schema registry",
    )
    wotr_dagster_url: HttpAddress = Field(
        "http://127.0.0.1:3001", description="http(s) address of Dagster's UI"
    )
    wotr_dagster_api_url: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="http(s) address under which the gateway reaches Dagster's UI; empty: WOTR_DAGSTER_URL",
    )
    wotr_grafana_url: HttpAddress = Field("http://127.0.0.1:3000", description="http(s) address of Grafana")
    wotr_jaeger_url: HttpAddress = Field("http://127.0.0.1:16686", description="http(s) address of Jaeger")
    otel_exporter_otlp_endpoint: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="http(s) address that takes traces (OTLP); empty: no traces",
    )

    wotr_data_dir: Path = Field(DEFAULT_DATA_DIR, description="directory for the embedded servers' state")
    wotr_batch_events: int = Field(
        200_000, ge=1, le=2_000_000, description="most Kafka offsets in one batch, 1 to 2000000"
    )
    wotr_batch_bytes: int = Field(
        192 * 1024 * 1024,
        ge=1024 * 1024,
        le=2 * 1024**3,
        description="most message bytes in one batch, 1 MiB to 2 GiB",
    )
    wotr_planned_batches: int = Field(
        64, ge=1, le=10_000, description="most batches planned by one sensor tick, 1 to 10000"
    )
    wotr_executor: Literal["in_process", "celery"] = Field(
        "in_process",
        description="in_process: a run works its steps off itself; celery: workers do (docs/scaling.md)",
    )
    wotr_celery_broker: SecretStr = Field(
        SecretStr(""),
        description="redis(s)://[:password@]host:port/number through which runs and Celery workers talk",
    )
    wotr_duplicate_window_hours: int = Field(
        168, ge=1, le=24 * 366, description="hours around a batch in which a repeated id is a duplicate"
    )
    wotr_fresh_minutes: int = Field(
        15,
        ge=1,
        le=24 * 60,
        description="minutes after which an unfinished batch or event is late, 1 to 1440",
    )
    wotr_dead_letter_tries: int = Field(
        3, ge=1, le=100, description="retries of a dead letter before it is quarantined, 1 to 100"
    )
    wotr_retries_per_minute: int = Field(
        120_000, ge=1, le=10_000_000, description="most dead letters sent again in a minute, 1 to 10000000"
    )
    wotr_retry_success_share: float = Field(
        0.5, ge=0, le=1, description="share of retries that must pass for more to be sent, 0 to 1"
    )
    wotr_publish_dead_letters: int = Field(
        0, ge=0, le=1_000_000, description="most dead letters published to KAFKA_DLQ_TOPIC a triage; 0: none"
    )
    wotr_keep_raw_days: int = Field(
        365, ge=8, le=36_500, description="days that raw objects are kept, 8 to 36500"
    )
    wotr_keep_rows_days: int = Field(
        730, ge=31, le=36_500, description="days that rows are kept, 31 to 36500"
    )
    wotr_keep_dead_letters_days: int = Field(
        90, ge=1, le=36_500, description="days that the content of closed dead letters is kept, 1 to 36500"
    )
    wotr_keep_ids_days: int = Field(
        30,
        ge=1,
        le=36_500,
        description="days that the gateway answers a repeated id from its register, 1 to 36500",
    )
    wotr_keep_actions_days: int = Field(
        730, ge=31, le=36_500, description="days that operators' actions are kept, 31 to 36500"
    )
    wotr_backup_endpoint: str = Field(
        "",
        description="http(s)://host:port of the object store that keeps the backups; empty: MINIO_ENDPOINT",
    )
    wotr_backup_access_key: str = Field("", description="its S3 access key; empty: MINIO_ACCESS_KEY")
    wotr_backup_secret_key: SecretStr = Field(
        SecretStr(""), description="its S3 secret key; empty: MINIO_SECRET_KEY"
    )
    wotr_backup_bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] = Field(
        "wotr-backups", description="an S3 bucket's name, another one than MINIO_BUCKET"
    )
    wotr_backup_signing_key: SecretStr = Field(
        SecretStr(""),
        description="signs the manifests of backups, 32 characters or more; keep it outside the platform",
    )
    wotr_backup_recipient: str = Field(
        "",
        pattern=r"^(age1[0-9a-z]{58})?$",
        description="age recipient (age1…) for whom backups are encrypted; empty: not encrypted",
    )
    wotr_backup_identity: SecretStr = Field(
        SecretStr(""),
        description="age identity (AGE-SECRET-KEY-1…) that opens encrypted backups; drills and restores need it",
    )
    wotr_backup_full_every: int = Field(
        4, ge=1, le=52, description="every how many ClickHouse backups one is full, 1 to 52"
    )
    wotr_keep_backups_daily: int = Field(
        7, ge=1, le=366, description="days of which the newest backup is kept, 1 to 366"
    )
    wotr_keep_backups_weekly: int = Field(
        5, ge=0, le=520, description="weeks of which the newest backup is kept, 0 to 520"
    )
    wotr_keep_backups_monthly: int = Field(
        12, ge=0, le=120, description="months of which the newest backup is kept, 0 to 120"
    )
    slack_bot_token: SecretStr = Field(
        SecretStr(""), description="bot token of the Slack app (xoxb-…, scope chat:write); empty: no notices"
    )
    wotr_slack_channel: str = Field(
        "#platform-team", pattern=r"^[#CG]\S{1,80}$", description="channel for what is planned and done"
    )
    wotr_slack_incidents_channel: str = Field(
        "#incidents", pattern=r"^[#CG]\S{1,80}$", description="channel for what went wrong"
    )
    wotr_slack_url: HttpAddress = Field(
        "https://slack.com/api/", description="http(s) address of Slack's Web API"
    )
    wotr_watch_minutes: int = Field(
        30, ge=0, le=120, description="minutes that are watched after a maintenance window, 0 to 120"
    )
    wotr_first_hour: datetime = Field(
        datetime(2026, 1, 1, tzinfo=UTC),
        description="first hourly partition, ISO 8601 with a zone, on the hour",
    )
    wotr_runbook_url: HttpAddress = Field(
        "https://github.com/wotr/wotr_pipeline/blob/main/docs",
        description="http(s) address under which docs/ is published",
    )

    @field_validator("minio_endpoint", "wotr_backup_endpoint")
    @classmethod
    def _endpoint_is_a_url(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.field_name == "wotr_backup_endpoint":
            return value
        url = value if "://" in value else f"http://{value}"
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError("must be http(s)://host:port or host:port, without a path")
        return url.rstrip("/")

    @field_validator("api_keys")
    @classmethod
    def _api_keys_are_strong(cls, value: SecretStr) -> SecretStr:
        keys = [key.strip() for key in value.get_secret_value().split(",") if key.strip()]
        if not all(re.fullmatch(r"[A-Za-z0-9_-]{24,200}", key) for key in keys):
            raise ValueError("a key is too short, or holds other characters than A-Z a-z 0-9 _ -")
        return SecretStr(",".join(keys))

    @field_validator("wotr_session_secret", "wotr_backup_signing_key")
    @classmethod
    def _secret_is_strong(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < 32:
            raise ValueError("must have 32 characters or more")
        return value

    @field_validator("wotr_celery_broker")
    @classmethod
    def _broker_is_redis(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        url = urlsplit(value.get_secret_value())
        if not value.get_secret_value() and info.data.get("wotr_executor") != "celery":
            return value
        if url.scheme not in ("redis", "rediss") or not url.hostname:
            raise ValueError("must be redis://host:port/number, or rediss:// for TLS")
        return value

    @field_validator("wotr_first_hour")
    @classmethod
    def _first_hour_is_an_hour(cls, value: datetime) -> datetime:
        if value.tzinfo is None or value.astimezone(UTC).replace(minute=0, second=0, microsecond=0) != value:
            raise ValueError("must be a full hour with a time zone, such as 2026-01-01T00:00:00Z")
        return value.astimezone(UTC)

    def runbook(self, page: str) -> str:
        """Address of a page of docs/, such as ``operating.md#ledger``, for messages to operators."""
        return f"{self.wotr_runbook_url.rstrip('/')}/{page}"


SECRET_VARIABLES = frozenset(
    name.upper() for name, field in Settings.model_fields.items() if field.annotation is SecretStr
) | {"MINIO_ACCESS_KEY", "WOTR_BACKUP_ACCESS_KEY"}
"""Variables whose values are never shown."""


def load_settings(**overrides: object) -> Settings:
    """Read the settings: ``overrides``, then the environment, then the file that ``wotr up`` wrote.

    Raises:
        SettingsError: one line per wrong variable, with its value's shape and what is allowed;
            never the value itself, which may be a secret.
    """
    import os

    data_dir = Path(
        str(overrides.get("wotr_data_dir") or os.environ.get("WOTR_DATA_DIR") or DEFAULT_DATA_DIR)
    )
    try:
        return Settings(_env_file=data_dir / ENVIRONMENT_FILE, **overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_input=False, include_url=False):
            field = str(problem["loc"][0])
            value = overrides.get(field, os.environ.get(field.upper(), ""))
            allowed = Settings.model_fields[field].description
            lines.append(
                f"{field.upper()}: {problem['msg']} (it is {_shape(str(value))}; allowed: {allowed})"
            )
        raise SettingsError("The environment cannot be used:\n  " + "\n  ".join(lines)) from None


def _shape(value: str) -> str:
    if not value:
        return "empty"
    kinds = {"digits": str.isdigit, "letters": str.isalpha, "spaces": str.isspace}
    present = [name for name, is_kind in kinds.items() if any(is_kind(char) for char in value)]
    if any(not (char.isalnum() or char.isspace()) for char in value):
        present.append("punctuation")
    return f"{len(value)} characters of {' and '.join(present)}"
