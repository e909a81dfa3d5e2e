"""A file's events reach the topic as they are, and a stop says where to go on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from wotr_pipeline.config import Settings
from wotr_pipeline.operations import ingest_file
from wotr_pipeline.operations.event_files import FileError, FileFormat, format_of, read_events
from wotr_pipeline.operations.ingest_file import Ingestion
from wotr_pipeline.stores.errors import PermanentError, TransientError
from wotr_pipeline_tests.conftest import environment_of
from wotr_pipeline_tests.topics import new_topic, read


@pytest.fixture
def settings(platform: Settings) -> Iterator[Settings]:
    with new_topic(platform, 1) as settings:
        yield settings


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read_all(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [event.value for event in read_events(file, format_of(path))]


def test_lines_are_sent_byte_for_byte_with_their_ids_as_keys(settings: Settings, tmp_path: Path) -> None:
    lines = [b'{"id": "a",  "n": 1.0}', b"not json \xff", b'{"id": 7}', b'  {"id": "b"} ']
    path = write(
        tmp_path / "events.ndjson",
        b"\xef\xbb\xbf" + b"\n\n".join(lines[:2]) + b"\r\n" + b"\n".join(lines[2:]),
    )
    ingestion = Ingestion(path, format_of(path))
    ingestion.run(settings)
    assert (ingestion.acknowledged, ingestion.safe_until) == (4, 5)
    table = read(settings, 0, 3).table
    assert table["value"].to_pylist() == lines
    assert table["key"].to_pylist() == [b"a", None, None, b"b"]


def test_an_arrays_events_keep_their_numbers_and_repeated_keys(tmp_path: Path) -> None:
    array = """
        [ {"id": "a", "numbers": [1.0, 1e5, -0.10, 123456789012345678901234567890, 1E-7]},
          {"id": "b", "x": 1, "x": 2, "deep": {"empty": {}, "none": [], "null": null, "true": true}},
          {"id": "é日\\u0000\\"\\\\\\n"}, 5, [] ]
    """
    assert read_all(write(tmp_path / "events.json", array)) == [
        b'{"id":"a","numbers":[1.0,1E+5,-0.10,123456789012345678901234567890,1E-7]}',
        b'{"id":"b","x":1,"x":2,"deep":{"empty":{},"none":[],"null":null,"true":true}}',
        '{"id":"é日\\u0000\\"\\\\\\n"}'.encode(),
        b"5",
        b"[]",
    ]


@pytest.mark.parametrize("content", ['{\n "id": "a"\n}\n{\n "id": "b"\n}', '[{"id":"a"},{"id":"b"}]'])
def test_json_may_be_an_array_or_events_one_after_the_other(tmp_path: Path, content: str) -> None:
    assert read_all(write(tmp_path / "events.json", content)) == [b'{"id":"a"}', b'{"id":"b"}']


def test_a_csvs_columns_become_an_event(tmp_path: Path) -> None:
    header = "id,timestamp,event_type,source,user_id,tags,data"
    rows = [
        'a,2026-11-23T08:00:00Z,metric,web,u1,"x;y|z","{""metric_name"": ""m"", ""metric_value"": 1.0}"',
        'b,2026-11-23T08:00:00Z,error,"two\nlines",,,',
        "c,2026-11-23T08:00:00Z,error,web,,,not json",
    ]
    first, second, third = read_all(write(tmp_path / "events.csv", "\n".join([header, *rows])))
    assert json.loads(first) == {
        "id": "a",
        "timestamp": "2026-11-23T08:00:00Z",
        "payload": {
            "event_type": "metric",
            "source": "web",
            "user_id": "u1",
            "tags": ["x", "y", "z"],
            "data": {"metric_name": "m", "metric_value": 1.0},
        },
    }
    assert b'"metric_value": 1.0}' in first
    assert json.loads(second)["payload"] == {"event_type": "error", "source": "two\nlines"}
    assert json.loads(third)["payload"]["data"] == "not json"


def test_bytes_of_a_csv_that_are_not_utf8_go_through_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "events.csv", b"id,timestamp,event_type,source\na,t,error,\xe9\n")
    assert b'"source": "\xe9"' in read_all(path)[0]


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("a.csv", "id,timestamp,event_type,source\na,t,e,s\nb,t\n", "line 3: 2 cells"),
        ("a.csv", 'id,timestamp,event_type,source\na,t,e,"s\n\n', "line 2"),
        ("a.csv", "id,when,event_type,source\n", "line 1: the header.*missing: timestamp; unknown: 1"),
        ("a.csv", "id,id,timestamp,event_type,source\n", "line 1: the header"),
        ("a.json", '[{"id":"a"},{"id":"b"', "not JSON after event 2|not JSON after event 1"),
        ("a.json", '[{"id":"a"}] {"id":"b"}', "after the end of the array"),
        ("a.json", '[{"n":' + "9" * 5000 + "}]", "not JSON after event"),
        ("a.ndjson", "x" * 11_000_000, "line 1 has more than"),
        ("a.json", '["' + "x" * 11_000_000 + '"]', "event 1 has more than"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_place(
    tmp_path: Path, name: str, content: str, place: str
) -> None:
    with pytest.raises(FileError, match=place):
        read_all(write(tmp_path / name, content))


def test_a_stop_keeps_what_was_sent_and_says_where_to_go_on(settings: Settings, tmp_path: Path) -> None:
    path = write(tmp_path / "events.ndjson", b'"1"\n"2"\n' + b"x" * 2_000_000 + b'\n"4"\n"5"\n')
    broken = Ingestion(path, FileFormat.NDJSON)
    with pytest.raises(
        PermanentError, match=r"(?s)at line 3: .*2 events are acknowledged. To go on: --from 3"
    ):
        broken.run(settings)
    Ingestion(path, FileFormat.NDJSON, start=4).run(settings)
    assert read(settings, 0, 3).table["value"].to_pylist() == [b'"1"', b'"2"', b'"4"', b'"5"']


def test_a_csv_that_breaks_off_is_safe_up_to_there(settings: Settings, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,timestamp,event_type,source\na,t,e,s\nb,t,e,s\nc,t\n")
    with pytest.raises(FileError, match=r"(?s)line 4: .*2 events are acknowledged. To go on: --from 4"):
        Ingestion(path, FileFormat.CSV).run(settings)
    assert read(settings, 0, 1).records == 2


def test_a_file_longer_than_a_checkpoint_arrives_whole(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_file, "CHECKPOINT_EVENTS", 10)
    path = write(tmp_path / "events.json", json.dumps(list(range(95))))
    ingestion = Ingestion(path, FileFormat.JSON)
    ingestion.run(settings)
    assert (ingestion.acknowledged, ingestion.safe_until) == (95, 95)
    assert read(settings, 0, 94).table["value"].to_pylist() == [b"%d" % number for number in range(95)]


def test_kafka_being_away_is_transient_and_nothing_is_claimed(settings: Settings, tmp_path: Path) -> None:
    away = settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"})
    with pytest.raises(TransientError, match="No event was sent"):
        Ingestion(write(tmp_path / "a.ndjson", "1\n"), FileFormat.NDJSON).run(away)


def test_the_command_says_what_it_did(settings: Settings, tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", '{"id":"a"}\n{"id":"b"}\n')
    done = CliRunner().invoke(ingest_file.ingest, [str(path)], env=environment_of(settings))
    assert done.output == f"2 events of {path} are in Kafka, topic {settings.kafka_topic}.\n"
