"""A gateway whose routes and libraries log all that must not be logged, under the real server.

``python -m wotr_pipeline_tests.gateway.careless PORT``; its stdout and stderr are what the tests look at. Secrets come
from the environment as everywhere.

Belongs here: carelessness. Does not belong here: what must become of it (``test_request_log.py``).
"""

import asyncio
import gc
import logging
import sys
import threading
from collections.abc import AsyncIterator

import sqlalchemy as sa
import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import StreamingResponse
from granian import Granian
from granian.constants import Interfaces, Loops
from pydantic import SecretStr

from wotr_pipeline.config import Settings, load_settings
from wotr_pipeline.gateway.headers import Application
from wotr_pipeline.gateway.request_log import RequestLog
from wotr_pipeline.gateway.tracing import traced
from wotr_pipeline.logs import GRANIAN_LOGGING, bind_request, configure_logging
from wotr_pipeline.stores.errors import TransientError

router = APIRouter()
log = structlog.get_logger("wotr_pipeline.careless")


def secrets_of(settings: Settings) -> list[str]:
    values = (getattr(settings, name) for name in Settings.model_fields)
    return [
        value.get_secret_value()
        for value in values
        if isinstance(value, SecretStr)
        if value.get_secret_value()
    ]


@router.post("/fails")
async def fails(request: Request) -> None:
    content = (await request.body()).decode()
    try:
        int(content)
    except ValueError as error:
        raise KeyError(content) from error


@router.post("/sql")
async def sql(request: Request) -> None:
    with sa.create_engine("sqlite://").connect() as connection:
        connection.execute(
            sa.text("SELECT * FROM missing WHERE it = :it"), {"it": (await request.body()).decode()}
        )


@router.post("/half")
async def half(request: Request) -> StreamingResponse:
    content = (await request.body()).decode()

    async def parts() -> AsyncIterator[bytes]:
        yield b"half of it"
        raise ValueError(content)

    return StreamingResponse(parts())


@router.post("/background")
async def background(request: Request) -> dict[str, str]:
    content = (await request.body()).decode()

    async def fail() -> None:
        raise ValueError(content)

    def fail_in_thread() -> None:
        raise ValueError(content)

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    del task
    gc.collect()
    thread = threading.Thread(target=fail_in_thread)
    thread.start()
    await asyncio.to_thread(thread.join)
    return {}


@router.post("/libraries")
async def libraries(request: Request) -> dict[str, str]:
    content = (await request.body()).decode()
    logging.getLogger("sqlalchemy.engine").info("[generated] %s", content)
    logging.getLogger("httpx").info("HTTP Request: GET %s", content)
    logging.getLogger("confluent_kafka").warning("%d records", content)
    logging.getLogger("confluent_kafka").warning("broker %s is down", "127.0.0.1:9092")
    return {}


@router.post("/secrets")
async def secrets(request: Request) -> dict[str, str]:
    for secret in secrets_of(load_settings()):
        log.info("connected", address=f"postgresql://wotr:{secret}@127.0.0.1", nested={"password": [secret]})
        logging.getLogger("confluent_kafka").error("refused %s", secret)
    return {}


@router.get("/away")
async def away() -> None:
    bind_request(key_id="k-7")
    raise TransientError("Kafka at 127.0.0.1:9092 does not answer. wotr status.")


@router.get("/events/{event_id}")
async def event(event_id: str) -> dict[str, str]:
    bind_request(key_id="k-7")
    return {}


@router.get("/health/live")
async def live() -> dict[str, str]:
    return {}


def application() -> Application:
    settings = load_settings()
    configure_logging(settings=settings)
    app = FastAPI()
    app.add_middleware(RequestLog)
    app.include_router(router)
    return traced(app, settings)


if __name__ == "__main__":
    Granian(
        "wotr_pipeline_tests.gateway.careless:application",
        factory=True,
        port=int(sys.argv[1]),
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        log_dictconfig=GRANIAN_LOGGING,
    ).serve()
