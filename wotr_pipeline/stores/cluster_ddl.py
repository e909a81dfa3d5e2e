"""The statements of sql/ as a ClickHouse cluster needs them: generated, never written a second time.

What one server says as ``MergeTree``, ``s3(…)`` and ``CREATE TABLE x`` is on a cluster
``ReplicatedMergeTree``, ``s3Cluster('name', …)`` and ``CREATE TABLE x ON CLUSTER 'name'``. A lexer for
ClickHouse's dialect (sqlglot's) finds the places, so that a word in a comment or a string is never taken
for one, and everything between them stays as it is, byte for byte. Not a parser's tree: sqlglot's does not
know ``ATTACH PARTITION … FROM``, cannot read judge.sql, and writes other functions than it read.

Belongs here: which statements have a variant, and what is replaced in them.
Does not belong here: running them. The pipeline speaks to one server; docs/scaling.md says how far the
variants go, what they do not solve, and what to try before trusting them.
Concept: https://clickhouse.com/docs/engines/table-engines/mergetree-family/replication
"""

import re
from dataclasses import dataclass
from itertools import pairwise

from sqlglot import Token, tokenize

from wotr_pipeline.sql import statement
from wotr_pipeline.stores.warehouse import TABLES

CLUSTER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
DISTRIBUTED_SUFFIX = "_distributed"
KEEP_TOKENS_SECONDS = 7 * 24 * 3600
"""How long Keeper remembers the tokens of inserts. Its default is an hour; a run that was killed may be followed
by the next one, which loads the batch again, only after a night or a weekend."""

CREATES = ("database", *TABLES)
READS_OBJECTS = ("account_raw_objects", "account_dead_letters", "raw_rows", "origins")
"""Statements that read through ``s3()``. What ``write_validated.sql`` writes is one object: one server writes it."""

SCRATCH = {
    "create_replacement": "ingested_data",
    "start_refresh_events_hourly": "events_hourly",
    "start_refresh_events_daily": "events_daily",
    "start_refresh_source_stats": "source_stats",
    "start_refresh_dead_letters_hourly": "dead_letters_hourly",
}
"""``CREATE TABLE a AS b`` would give ``a`` the replicated engine of ``b``, and with it the need for ON CLUSTER.
What only lives until ``REPLACE PARTITION … FROM a`` is a table of one server: replicas fetch the parts from it."""


@dataclass(frozen=True)
class Variant:
    """One statement for a cluster, and the file of sql/ it was made from."""

    source: str
    text: str


def cluster_ddl(cluster: str) -> list[Variant]:
    """Every variant for the cluster of that name, tables in the order to create them.

    Raises:
        ValueError: ``cluster`` is no name that can stand in a statement as it is.
    """
    if not CLUSTER_NAME.fullmatch(cluster):
        raise ValueError(f"{cluster!r} is no cluster's name: letters, digits, _ and -, at most 63")
    return [
        *(Variant(f"create_{name}", replicated(statement(f"create_{name}"), cluster)) for name in CREATES),
        *(Variant(f"create_{name}", distributed(name, cluster)) for name in TABLES),
        *(Variant(name, scratch(statement(name), of)) for name, of in SCRATCH.items()),
        *(Variant(name, spread(statement(name), cluster)) for name in READS_OBJECTS),
    ]


def replicated(create: str, cluster: str) -> str:
    """``CREATE TABLE`` or ``CREATE DATABASE`` on every server, its rows on every replica of their shard."""
    tokens = tokenize(create, dialect="clickhouse")
    edits = [(_end_of_name(tokens), 0, f" ON CLUSTER '{cluster}'")]
    for before, token in pairwise(tokens):
        word = token.text
        if before.text == "=" and word.endswith("MergeTree"):
            edits.append((token.start, len(word), f"Replicated{word}"))
        elif word == "non_replicated_deduplication_window":
            remembered = f"replicated_deduplication_window_seconds = {KEEP_TOKENS_SECONDS},\n    "
            edits.append((token.start, len(word), f"{remembered}replicated_deduplication_window"))
    return _edited(create, edits)


def distributed(table: str, cluster: str) -> str:
    """A table over all shards of ``table``, to read from: the pipeline writes to the shards themselves."""
    return (
        f"CREATE TABLE IF NOT EXISTS {table}{DISTRIBUTED_SUFFIX} ON CLUSTER '{cluster}' AS {table}\n"
        f"ENGINE = Distributed('{cluster}', currentDatabase(), {table})"
    )


def scratch(create: str, of: str) -> str:
    """``CREATE TABLE a AS b`` as a table of one server, partitioned and ordered as create_<b>.sql says."""
    return f"{create}\nENGINE = MergeTree\n{_partition_and_order(statement(f'create_{of}'))}"


def spread(select: str, cluster: str) -> str:
    """A query over objects with ``s3Cluster``: every server reads its share of them.

    ``IN (SELECT …)`` becomes ``GLOBAL IN``: a batch's staging table is on the server that was asked alone.
    """
    tokens = tokenize(select, dialect="clickhouse")
    edits = []
    for index, token in enumerate(tokens[:-2]):
        following = [one.text.upper() for one in tokens[index + 1 : index + 3]]
        if token.text == "s3" and following[0] == "(":
            edits.append((token.start, 2, "s3Cluster"))
            edits.append((tokens[index + 2].start, 0, f"'{cluster}', "))
        elif token.text.upper() == "IN" and following == ["(", "SELECT"]:
            negated = index > 0 and tokens[index - 1].text.upper() == "NOT"
            edits.append((tokens[index - 1].start if negated else token.start, 0, "GLOBAL "))
    return _edited(select, edits)


def _end_of_name(tokens: list[Token]) -> int:
    """Where the name of what is created ends: a word, or ``{name:Identifier}``."""
    kind = next(i for i, token in enumerate(tokens) if token.text.upper() in ("TABLE", "DATABASE"))
    name = kind + 1
    if [token.text.upper() for token in tokens[name : name + 3]] == ["IF", "NOT", "EXISTS"]:
        name += 3
    if tokens[name].text == "{":
        name = next(i for i in range(name, len(tokens)) if tokens[i].text == "}")
    return tokens[name].end + 1


def _partition_and_order(create: str) -> str:
    tokens = tokenize(create, dialect="clickhouse")
    words = [token.text.upper() for token in tokens]
    engine = max(index for index, word in enumerate(words) if word == "ENGINE")
    start = next(i for i in range(engine, len(words)) if words[i].startswith("PARTITION"))
    end = next((i for i in range(start, len(words)) if words[i] == "SETTINGS"), len(words))
    return create[tokens[start].start : tokens[end - 1].end + 1]


def _edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    """``text`` with ``length`` characters from ``start`` replaced, for each (start, length, replacement)."""
    for start, length, replacement in sorted(edits, reverse=True):
        text = text[:start] + replacement + text[start + length :]
    return text
