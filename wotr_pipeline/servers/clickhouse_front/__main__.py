"""Start the front: ``python -m wotr_pipeline.servers.clickhouse_front --path DIR --port P``.

Belongs here: the command line, the server's limits, the order of start and stop.
Does not belong here: anything about a single request.

SIGTERM or SIGINT: no new connections; running statements get ``--stop-within`` seconds; what still runs is
killed; the engine closes; exit 0.
"""

import argparse
import asyncio
import logging
import os
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn

from wotr_pipeline.servers.clickhouse_front.access import CredentialsError, users_from
from wotr_pipeline.servers.clickhouse_front.app import Application
from wotr_pipeline.servers.clickhouse_front.connection import Connection
from wotr_pipeline.servers.clickhouse_front.engine import Engine
from wotr_pipeline.servers.clickhouse_front.errors import FrontError
from wotr_pipeline.servers.clickhouse_front.execution import Execution

SPOOL = "http_bodies"
MOST_CONNECTIONS = 1024
IDLE_SECONDS = 60
MOST_HEADER_BYTES = 1024 * 1024


def main() -> int:
    """Run until told to stop; the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    options = _options()
    try:
        users = users_from(os.environ)
    except CredentialsError as error:
        logging.getLogger("wotr.clickhouse").error("not started: %s", error)
        return 2
    try:
        engine = Engine(options.path, options.config, options.memory_limit)
    except (FrontError, RuntimeError, ValueError) as error:
        logging.getLogger("wotr.clickhouse").error("not started: %s", error)
        return 1
    spool = options.path / SPOOL
    shutil.rmtree(spool, ignore_errors=True)
    spool.mkdir(mode=0o700)
    # uvicorn raises the signal once more when it is done: then it means nothing any more.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    # A broken-off answer is meant to be incomplete, and has its own line.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: "without completing" not in record.getMessage()
    )
    execution = Execution(engine, spool, options.slots)
    server = uvicorn.Server(
        uvicorn.Config(
            Application(execution, users),
            host=options.host,
            port=options.port,
            http=Connection,
            ws="none",
            lifespan="off",
            loop="asyncio",
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            backlog=MOST_CONNECTIONS,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=options.stop_within,
            h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        )
    )
    asyncio.run(_serve(server, execution, 4 * options.slots + 16))
    engine.close()
    return 0 if server.started else 1


async def _serve(server: uvicorn.Server, execution: Execution, threads: int) -> None:
    # Each running statement may hold a thread that waits for its pipe; others must not wait for that.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads, thread_name_prefix="pipe"))
    await server.serve()
    await execution.stop()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="clickhouse_front", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--path", type=Path, required=True, help="the data directory; made if missing")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--config", type=Path, help="ClickHouse configuration file for the engine")
    parser.add_argument(
        "--memory-limit", type=int, default=0, help="bytes the engine may use, 0: its default"
    )
    parser.add_argument("--slots", type=int, default=8, help="statements that run at once")
    parser.add_argument(
        "--stop-within", type=int, default=30, help="seconds running statements get at the end"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
