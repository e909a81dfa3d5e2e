"""A schema registry for tests: the gateway's routes on a real server, for real clients.

Belongs here: starting it, and keys that may read or also write.
Does not belong here: the gateway's own keys (``gateway/``).
"""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import fastapi
import uvicorn
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import SecretStr

from wotr_pipeline.config import Settings
from wotr_pipeline.gateway.registry import registry_routes
from wotr_pipeline.servers.data_directory import free_port
from wotr_pipeline.stores.schema_register import SchemaRegister

from .topics import wait_until

READER, WRITER = "key-that-may-only-read-schemas", "key-that-may-write-schemas"
basic = HTTPBasic(auto_error=False)


def key_of(*known: str) -> fastapi.params.Depends:
    """Lets a request with one of these keys through."""

    def check(given: Annotated[HTTPBasicCredentials | None, fastapi.Depends(basic)]) -> None:
        if given is None or given.password not in (READER, WRITER):
            raise fastapi.HTTPException(401, "Invalid or missing API key")
        if given.password not in known:
            raise fastapi.HTTPException(403, "This key does not have the scope")

    return fastapi.Depends(check)  # type: ignore[no-any-return]


@contextmanager
def serving(settings: Settings) -> Iterator[Settings]:
    """The settings of someone who may write in a registry that serves on POSTGRES_DB."""
    port = free_port()
    with SchemaRegister(settings) as register:
        app = fastapi.FastAPI()
        routes = registry_routes(register, read=key_of(READER, WRITER), write=key_of(WRITER))
        app.include_router(routes, prefix="/registry")
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
        thread = threading.Thread(target=server.run, name=f"registry {secrets.token_hex(2)}")
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield settings.model_copy(
                update={
                    "wotr_schema_registry_url": f"http://127.0.0.1:{port}/registry",
                    "api_keys": SecretStr(WRITER),
                }
            )
        finally:
            server.should_exit = True
            thread.join()
