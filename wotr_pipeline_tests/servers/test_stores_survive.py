"""A store that is killed comes back by itself, with all it had acknowledged; and lets in no stranger."""

import clickhouse_connect
import psycopg2
import pytest
from botocore.exceptions import ClientError
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import Consumer, Producer, TopicPartition
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline_tests.conftest import object_client, settings_of

WRONG = "not-the-secret"


def connect(settings: Settings) -> "psycopg2.extensions.connection":
    return psycopg2.connect(
        host=settings.postgres_host,
        port=settings.postgres_port,
        user=settings.postgres_user,
        password=settings.postgres_password.get_secret_value(),
        dbname=settings.postgres_db,
    )


def warehouse_client(settings: Settings) -> "clickhouse_connect.driver.client.Client":
    return clickhouse_connect.get_client(
        host=settings.clickhouse_host,
        port=settings.clickhouse_port,
        username=settings.clickhouse_user,
        password=settings.clickhouse_password.get_secret_value(),
        database=settings.clickhouse_db,
    )


def test_postgres_killed_after_a_commit_comes_back_with_it(space: Settings, servers: Platform) -> None:
    with connect(space) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
    killed = servers.kill("postgres")
    servers.wait_ready("postgres")
    assert servers.pid("postgres") != killed
    with connect(space) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT sum(number) FROM kept")
        assert cursor.fetchone() == (500_500,)


def test_the_object_store_killed_after_a_put_comes_back_with_the_object(
    space: Settings, servers: Platform
) -> None:
    body = bytes(range(256)) * 40_000
    object_client(space).put_object(Bucket=space.minio_bucket, Key="raw/kept", Body=body)
    killed = servers.kill("objects")
    servers.wait_ready("objects")
    assert servers.pid("objects") != killed
    # A server that is back answers before all its volumes are there again.
    asked = Retrying(
        retry=retry_if_exception_type(ClientError),
        stop=stop_after_delay(60),
        wait=wait_fixed(0.2),
        reraise=True,
    )
    kept = asked(object_client(space).get_object, Bucket=space.minio_bucket, Key="raw/kept")
    assert kept["Body"].read() == body


def test_kafka_killed_after_an_acknowledgement_comes_back_with_the_message(
    space: Settings, servers: Platform
) -> None:
    producer = Producer({"bootstrap.servers": space.kafka_bootstrap, "acks": "all"})
    for number in range(1000):
        producer.produce(space.kafka_topic, str(number).encode(), partition=0)
    assert producer.flush(30) == 0
    killed = servers.kill("kafka")
    servers.wait_ready("kafka")
    assert servers.pid("kafka") != killed
    consumer = Consumer({"bootstrap.servers": space.kafka_bootstrap, "group.id": space.kafka_group})
    try:
        # A broker that is back answers before it leads all its partitions again.
        asked = Retrying(stop=stop_after_delay(60), wait=wait_fixed(0.2), reraise=True)
        held = asked(consumer.get_watermark_offsets, TopicPartition(space.kafka_topic, 0), timeout=20)
        assert held == (0, 1000)
    finally:
        consumer.close()


def test_clickhouse_killed_after_an_insert_comes_back_with_the_rows(
    space: Settings, servers: Platform
) -> None:
    client = warehouse_client(space)
    client.command("CREATE TABLE kept ENGINE = MergeTree ORDER BY number AS SELECT number FROM numbers(1000)")
    killed = servers.kill("clickhouse")
    servers.wait_ready("clickhouse")
    assert servers.pid("clickhouse") != killed
    assert warehouse_client(space).query("SELECT sum(number) FROM kept").first_row == (499_500,)


def test_the_engine_reads_the_object_store_without_a_secret_in_the_query(space: Settings) -> None:
    object_client(space).put_object(Bucket=space.minio_bucket, Key="some.csv", Body=b"1,a\n2,b\n")
    found = warehouse_client(space).query(
        "SELECT * FROM s3(wotr_objects, filename = {key:String}, format = 'CSV') ORDER BY 1",
        parameters={"key": f"{space.minio_bucket}/some.csv"},
    )
    assert found.result_rows == [(1, "a"), (2, "b")]


def test_a_wrong_secret_opens_no_store(servers: Platform) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect(settings_of(servers, postgres_password=WRONG))
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        object_client(settings_of(servers, minio_secret_key=WRONG)).list_buckets()
    with pytest.raises(ClickHouseError, match=r"AUTHENTICATION_FAILED|REQUIRED_PASSWORD"):
        warehouse_client(settings_of(servers, clickhouse_password=WRONG))
