"""A person at the explorer, as a browser without JavaScript is one; and rows to look at."""

import re
from datetime import UTC, datetime
from typing import Any

import httpx
import pyarrow as pa

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.api_keys import Scope
from wotr_pipeline.stores.warehouse import Warehouse

from ..topics import wait_until
from .conftest import NO_AUTHORITIES, Edge

ROWS = 250
SCRIPT = "<script>alert('value')</script>"
JSON = {"Accept": "application/json"}
PAGE = {"Accept": "text/html"}


class Desk:
    """Someone who is signed in with a key of their own."""

    def __init__(self, edge: Edge, key: str | None = None) -> None:
        self.key = key or edge.key(Scope.READ)
        self.client = httpx.Client(base_url=edge.url, timeout=60, trust_env=False, verify=NO_AUTHORITIES)
        # The gateway reads new keys once a second, and counts vain sign-ins.
        wait_until(lambda: self.client.get("/explorer/", headers={"X-API-Key": self.key}).is_success, 20)
        assert self.client.post("/sign-in", data={"key": self.key}).status_code == 303
        page = self.client.get("/explorer/", headers=PAGE)
        found = re.search(r'name="csrf-token" content="([0-9a-f]+)"', page.text)
        assert found, page.text
        self.token = found[1]

    def post(self, address: str, headers: dict[str, str] = JSON, **fields: str) -> httpx.Response:
        return self.client.post(address, data={"csrf_token": self.token, **fields}, headers=headers)

    def run(self, statement: str, **fields: str) -> httpx.Response:
        return self.post("/explorer/", statement=statement, **fields)

    def rows(self, statement: str) -> list[list[Any]]:
        answer = self.run(statement)
        assert answer.status_code == 200, answer.text
        rows: list[list[Any]] = answer.json()["rows"]
        return rows

    def page(self, address: str = "/explorer/") -> str:
        answer = self.client.get(address, headers=PAGE)
        assert answer.status_code == 200, answer.text
        return answer.text


def fill(settings: Settings) -> None:
    """Rows of the last minutes: every fifth failed, one source with a script in its name."""
    now = datetime.now(UTC).replace(microsecond=0)
    hour = now.replace(minute=0, second=0)
    sources = ("web", "ios", SCRIPT)
    rows = [
        {
            "id": f"event-{number:04}",
            "event_type": "error" if number % 3 else "metric",
            "source": sources[number % 3],
            "timestamp": now,
            "payload": '{"data":{"error_message":"disk full"}}',
            "size_bytes": 100 + number,
            "validation_status": "valid" if number % 5 else "failed",
            "error_code": "" if number % 5 else "missing_field",
            "error_message": "" if number % 5 else "payload.source is missing",
            "created_at": now,
            "arrival_hour": hour,
            "kafka_partition": 0,
            "kafka_offset": number,
            "batch_id": "a-batch",
        }
        for number in range(ROWS)
    ]
    warehouse = Warehouse(settings)
    try:
        warehouse.insert("ingested_data", pa.Table.from_pylist(rows))
    finally:
        warehouse.close()
