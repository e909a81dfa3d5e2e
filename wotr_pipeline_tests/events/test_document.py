"""Finding the payload's place: the quick way and the thorough one never disagree."""

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from wotr_pipeline.events.document import DocumentError, lay_out, plain_payload, read_document

from .messages import damaged, odd, well_formed


@settings(max_examples=200, deadline=None)
@given(st.one_of(well_formed(), odd(), damaged()))
@example(b'{"payload":{"data":{"a":1,"a" :2}}}')
@example(b'{"payload":{"data":{}},"payload":{"data":{}}}')
@example(b'{"x":{"payload":1},"payload":{"data":{"b":{}}} }')
@example(b'{"id":"\\"payload\\":{","payload":{"data":{}}}')
@example(b'{"payload":{"data":{"a":"}"}}}')
def test_the_quick_way_finds_what_the_thorough_one_finds(value: bytes) -> None:
    try:
        document = read_document(value)
        layout = lay_out(value)
    except DocumentError:
        return
    quick = plain_payload(document)
    if quick is not None:
        assert quick == layout.payload
        assert layout.repeated_key is None


def test_a_plain_event_is_found_the_quick_way() -> None:
    event = {
        "id": "1",
        "timestamp": "2026-01-01T00:00:00Z",
        "payload": {"source": "s", "data": {"a": [{"b": {}}]}},
    }
    text = json.dumps(event).encode()
    place = plain_payload(read_document(text))
    assert place is not None
    assert json.loads(text[slice(*place)]) == event["payload"]
