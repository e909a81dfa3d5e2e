"""Settings: a wrong value stops at the start and is named by variable, shape and what is allowed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from wotr_pipeline.config import ENVIRONMENT_FILE, SettingsError, load_settings


@pytest.fixture(autouse=True)
def empty_data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WOTR_DATA_DIR", str(tmp_path))
    return tmp_path


def test_a_wrong_value_is_named_with_its_shape_and_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_PORT", "sesame-70000")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert "POSTGRES_PORT" in str(raised.value)
    assert "12 characters of digits and letters and punctuation" in str(raised.value)
    assert "1 to 65535" in str(raised.value)
    assert "sesame" not in str(raised.value), "the value may be a secret"


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "no port here")
    monkeypatch.setenv("MINIO_ENDPOINT", "ftp://somewhere")
    monkeypatch.setenv("WOTR_BATCH_EVENTS", "0")
    monkeypatch.setenv("WOTR_FIRST_HOUR", "2026-01-01T00:30:00Z")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    for variable in ("KAFKA_BOOTSTRAP", "MINIO_ENDPOINT", "WOTR_BATCH_EVENTS", "WOTR_FIRST_HOUR"):
        assert variable in str(raised.value)


def test_the_environment_wins_over_the_file_that_the_servers_left(
    empty_data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_data_dir / ENVIRONMENT_FILE).write_text("KAFKA_TOPIC=from-file\nPOSTGRES_PORT=1234\n")
    monkeypatch.setenv("KAFKA_TOPIC", "from-environment")
    settings = load_settings()
    assert (settings.kafka_topic, settings.postgres_port) == ("from-environment", 1234)


def test_a_wrong_value_in_that_file_is_named_like_any_other(empty_data_dir: Path) -> None:
    (empty_data_dir / ENVIRONMENT_FILE).write_text("POSTGRES_PORT=99999\n")
    with pytest.raises(SettingsError, match="POSTGRES_PORT"):
        load_settings()


def test_an_endpoint_may_be_given_without_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIO_ENDPOINT", "minio:9000")
    assert load_settings().minio_endpoint == "http://minio:9000"


def test_the_first_hour_may_be_in_any_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOTR_FIRST_HOUR", "2026-01-01T02:00:00+02:00")
    assert load_settings().wotr_first_hour == datetime(2026, 1, 1, tzinfo=UTC)


def test_secrets_are_not_shown_by_printing_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "open-sesame")
    assert "sesame" not in repr(load_settings())


def test_a_key_that_could_be_guessed_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for keys in ("sesame", "a" * 40 + ",sesame", "with spaces in it, which headers do not carry well"):
        monkeypatch.setenv("API_KEYS", keys)
        with pytest.raises(SettingsError, match="API_KEYS") as raised:
            load_settings()
        assert keys not in str(raised.value)
    monkeypatch.setenv("API_KEYS", "")
    monkeypatch.setenv("WOTR_SESSION_SECRET", "short")
    with pytest.raises(SettingsError, match="WOTR_SESSION_SECRET"):
        load_settings()
