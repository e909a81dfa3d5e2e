"""The statements for a ClickHouse cluster: the engine reads them, and without the cluster they are ours again."""

import re
import secrets
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from wotr_pipeline.cli import main
from wotr_pipeline.config import PROJECT_ROOT, Settings
from wotr_pipeline.sql import statement
from wotr_pipeline.stores.cluster_ddl import (
    CREATES,
    READS_OBJECTS,
    SCRATCH,
    Variant,
    cluster_ddl,
    distributed,
    replicated,
    spread,
)
from wotr_pipeline.stores.warehouse import TABLES, Warehouse

VARIANTS = cluster_ddl("wotr")
STATEMENTS = [path.stem for path in (PROJECT_ROOT / "wotr_pipeline" / "sql").glob("*.sql")]


@pytest.fixture(scope="module")
def warehouse(platform: Settings) -> Iterator[Warehouse]:
    """A database with the project's tables and no rows."""
    warehouse = Warehouse(platform.model_copy(update={"clickhouse_db": f"t{secrets.token_hex(5)}"}))
    warehouse.migrate()
    yield warehouse
    warehouse.client.command(
        "DROP DATABASE IF EXISTS {name:Identifier}", {"name": warehouse.settings.clickhouse_db}
    )
    warehouse.close()


def formatted(warehouse: Warehouse, query: str) -> str:
    """The statement as the engine's parser writes it; fails where it cannot read it."""
    return str(
        warehouse.client.query("SELECT formatQuery({query:String})", {"query": query}).result_rows[0][0]
    )


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: f"{variant.source}-{len(variant.text)}")
def test_the_engine_can_read_every_variant(warehouse: Warehouse, variant: Variant) -> None:
    assert formatted(warehouse, variant.text)


@pytest.mark.parametrize("name", CREATES)
def test_a_replicated_table_is_the_one_servers_table_but_for_engine_cluster_and_memory_of_inserts(
    warehouse: Warehouse, name: str
) -> None:
    original = formatted(warehouse, statement(f"create_{name}"))
    variant = formatted(warehouse, replicated(statement(f"create_{name}"), "wotr"))
    assert " ON CLUSTER wotr" in variant
    assert name == "database" or "ENGINE = ReplicatedMergeTree" in variant
    back = variant.replace(" ON CLUSTER wotr", "").replace("ENGINE = Replicated", "ENGINE = ")
    back = back.replace(
        "replicated_deduplication_window_seconds = 604800, replicated_dedup", "non_replicated_dedup"
    )
    assert back == original


@pytest.mark.parametrize("name", READS_OBJECTS)
def test_a_query_over_all_servers_is_the_one_servers_query_but_for_where_it_runs(
    warehouse: Warehouse, name: str
) -> None:
    variant = formatted(warehouse, spread(statement(name), "wotr"))
    assert "s3Cluster('wotr', " in variant
    back = variant.replace("s3Cluster('wotr', ", "s3(").replace(" GLOBAL IN ", " IN ")
    assert back == formatted(warehouse, statement(name))


def test_a_staging_table_is_asked_for_on_its_own_server_only() -> None:
    assert "GLOBAL IN (SELECT kafka_offset FROM {staging:Identifier}" in spread(statement("origins"), "wotr")
    assert spread("SELECT 1 FROM s3(a) WHERE b NOT IN (SELECT 2)", "c") == (
        "SELECT 1 FROM s3Cluster('c', a) WHERE b GLOBAL NOT IN (SELECT 2)"
    )


def test_words_in_comments_and_texts_are_left_alone() -> None:
    text = "-- s3(x) IN (SELECT\nSELECT 's3(y) IN (SELECT', a FROM s3(z) WHERE a IN ('s3(')"
    assert spread(text, "c") == text.replace("s3(z)", "s3Cluster('c', z)")
    create = (
        "-- TABLE = MergeTree\nCREATE TABLE t (a Int8 COMMENT '= MergeTree') ENGINE = MergeTree ORDER BY a"
    )
    assert replicated(create, "c") == create.replace("TABLE t", "TABLE t ON CLUSTER 'c'").replace(
        "ENGINE = M", "ENGINE = ReplicatedM"
    )


@pytest.mark.parametrize(("name", "table"), SCRATCH.items())
def test_a_scratch_table_of_one_server_can_replace_a_partition_of_the_table_it_stands_in_for(
    warehouse: Warehouse, name: str, table: str
) -> None:
    variant = next(variant for variant in VARIANTS if variant.source == name)
    made = "ingested_data_replacement" if table == "ingested_data" else "curated_refresh"
    client = warehouse.client
    client.command(variant.text)
    try:
        column = {"ingested_data": "created_at", "events_daily": "day"}.get(table, "hour")
        client.command(f"INSERT INTO {made} ({column}) VALUES ('2026-11-25 00:00:00')")
        [[partition]] = client.query(f"SELECT DISTINCT _partition_id FROM {made}").result_rows
        client.command(f"ALTER TABLE {table} REPLACE PARTITION ID '{partition}' FROM {made}")
        assert client.query(f"SELECT count() FROM {table}").result_rows == [(1,)]
    finally:
        client.command(f"DROP TABLE IF EXISTS {made} SYNC")


def test_what_analysts_read_over_all_shards_has_the_columns_of_the_table(warehouse: Warehouse) -> None:
    for table in TABLES:
        text = distributed(table, "wotr")
        assert f" AS {table}\n" in text, "the columns come from the table itself"
        assert f"currentDatabase(), {table})" in text


def test_no_statement_that_a_cluster_wants_otherwise_is_forgotten() -> None:
    sources = {variant.source for variant in VARIANTS}
    texts = {name: statement(name) for name in STATEMENTS}
    wanted = {
        name
        for name, text in texts.items()
        # Those that ask for tables of the family (LIKE '%MergeTree') make none.
        if re.search(r"=\s*\w*MergeTree", text)
        or "FROM s3(" in text
        or (text.startswith("CREATE TABLE") and " AS " in text)
    }
    assert wanted <= sources


def test_the_command_prints_every_variant_with_its_file_and_refuses_a_name_that_breaks_out() -> None:
    printed = CliRunner().invoke(main, ["cluster-ddl", "--cluster", "events"])
    assert printed.exit_code == 0
    for variant in cluster_ddl("events"):
        assert f"-- From wotr_pipeline/sql/{variant.source}.sql\n{variant.text};\n" in printed.output
    refused = CliRunner().invoke(main, ["cluster-ddl", "--cluster", "a' SYNC; DROP TABLE b --"])
    assert refused.exit_code == 2
