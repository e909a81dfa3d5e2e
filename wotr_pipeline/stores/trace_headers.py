"""The traces that a raw object's records belong to, as their producers wrote them into the header.

Belongs here: finding that header in a hundred thousand records at once.
Does not belong here: what is done with it (``telemetry.py``).
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from ..telemetry import TRACEPARENT


def trace_headers(table: pa.Table) -> Iterator[bytes | None]:
    """Values of the header ``traceparent`` in ``table`` (``RAW_SCHEMA``), hardly repeated, in the records' order.

    A chunk of the table is looked at only when the values of the one before are used up.
    """
    for chunk in table.column("headers").chunks:
        headers = chunk.flatten()
        if len(headers):
            of_traces = pc.equal(headers.field("name"), TRACEPARENT)
            yield from pc.unique(headers.field("value").filter(of_traces)).to_pylist()
