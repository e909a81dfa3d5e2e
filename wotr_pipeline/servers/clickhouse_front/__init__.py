"""ClickHouse's HTTP protocol in front of chDB, the same engine as a library.

One process owns the data directory; everyone else speaks HTTP to it, so that clients cannot tell it
from a ClickHouse server by what they use of it. Start: ``python -m wotr_pipeline.servers.clickhouse_front``.

Belongs here: the protocol, who may do what, how bytes reach the engine and come back.
Does not belong here: anything of the project (tables, queries, settings of the pipeline).

Spoken
    - ``POST /`` and ``GET /`` (read-only) with the statement in the body, in ``query=``, or in both; multipart
      forms for long statements and parameters (``form_encode_query_params``).
    - Every output format, streamed; ``wait_end_of_query=1`` answers only once the result is complete. A failure
      after the first bytes is written into the body with ``X-ClickHouse-Exception-Tag`` and the connection closed.
    - ``INSERT … FORMAT …`` with the data in the body, streamed. Parquet, ORC, Arrow files need a seekable file
      and are spooled below the data directory. A body cut short is never committed as if it were whole;
      as in ClickHouse, blocks the engine had already written (about a million rows each) stay.
    - ``Content-Encoding`` and ``Accept-Encoding`` lz4, zstd, gzip, deflate; a body may hold many frames.
    - ``param_*``, ``database``, ``default_format``, ``query_id``, settings by name, ``log_comment``.
    - ``X-ClickHouse-Summary`` with the engine's own counts, ``X-ClickHouse-Exception-Code`` with its codes.
    - Basic authentication, ``X-ClickHouse-User``/``-Key``, ``user``/``password``. Nothing without, except ``/ping``.
    - ``/ping`` (the process answers), ``/health`` and ``/replicas_status`` (the engine answers).

Different from a server
    - **Query ids.** The engine gives every query an id of its own; ``X-ClickHouse-Query-Id`` returns the client's.
      Find and kill queries by ``Settings['log_comment']`` in ``system.processes`` and ``log_comment`` in
      ``system.query_log``: it is what the client sent, or else the query id. This works on a server, too.
    - ``Settings['query_cache_tag']`` carries this front's mark of a request; the query cache is of no use here.
    - A client that goes away: its SELECT is killed; a statement that changes data runs to its end,
      as on a server; an INSERT whose body was cut short is killed.
    - A SELECT's text in those tables ends with ``INTO OUTFILE '/dev/fd/…'``, an INSERT's with ``FROM INFILE``: so the
      bytes pass between the engine and this front.
    - Nothing is sent while a statement runs (no ``X-ClickHouse-Progress``): for statements longer than the client's
      ``send_receive_timeout`` (300 s), raise that. The summary of a stream that has begun is not sent.
    - ``async_insert`` has no effect on data in the body.

Durability: what is answered with 200 survives ``kill -9`` of this process. Against a power cut, give the table
``fsync_after_insert = 1, fsync_part_directory = 1``, as on a server.

Refused, with a text that says so
    - Sessions: a named ``session_id``, ``session_check``, and the statements that need one (SET, USE,
      temporary tables). The random UUID that clickhouse-connect makes for every client is accepted, for
      no state hangs on it. Roles, external tables, ``compress``/``decompress`` (ClickHouse's own framing).
    - More than one statement in a request, ``INTO OUTFILE``, ``FROM INFILE`` (they would name this machine's files).
    - For the reader: everything but reading tables (see ``access.py``).
"""
