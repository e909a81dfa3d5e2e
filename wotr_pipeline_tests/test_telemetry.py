"""Traces cost nothing when nobody takes them, carry no content, and never hold up or fail the work."""

import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from wotr_pipeline import telemetry, telemetry_export
from wotr_pipeline.config import PROJECT_ROOT, Settings
from wotr_pipeline.servers.data_directory import free_port
from wotr_pipeline_tests.collector import Collector, collecting, silent

CONTENT = "somebody@example.org"


@pytest.fixture(autouse=True)
def _off_afterwards() -> Iterator[None]:
    yield
    telemetry.stop_tracing()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        telemetry.configure_tracing(sending_to(collector.url), "tests")
        yield collector


def sending_to(url: str) -> Settings:
    return Settings(otel_exporter_otlp_endpoint=url)


def header(number: int, flags: str = "01") -> bytes:
    return f"00-{number:032x}-{number:016x}-{flags}".encode()


def test_without_an_address_nothing_of_opentelemetrys_sdk_is_imported() -> None:
    program = """
import sys
from wotr_pipeline import telemetry
from wotr_pipeline.config import Settings
assert not [name for name in sys.modules if name.startswith("opentelemetry")], "imported at once"
import wotr_pipeline.definitions, wotr_pipeline.logs, wotr_pipeline.gateway.request_log, wotr_pipeline.gateway.tracing
telemetry.configure_tracing(Settings(otel_exporter_otlp_endpoint=""), "tests")
app = object()
assert wotr_pipeline.gateway.tracing.traced(app, Settings(otel_exporter_otlp_endpoint="")) is app
with telemetry.span("work", number=1):
    assert telemetry.traceparent() is None and telemetry.trace_id() is None
    work = telemetry.begin("batch")
    with work.step("land"):
        telemetry.linked_to(1 / 0 for _ in "x")
    work.end()
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_what_is_done_inside_a_span_is_its_child_and_what_failed_says_so_without_its_text(
    collector: Collector,
) -> None:
    def fail() -> None:
        with telemetry.span("inner"):
            raise ValueError(CONTENT)

    with telemetry.span("outer", topic="events", records=3, absent=None):
        with pytest.raises(ValueError, match=CONTENT):
            fail()
    telemetry.stop_tracing()
    [outer], [inner] = collector.named("outer"), collector.named("inner")
    assert outer.attributes == {"wotr.topic": "events", "wotr.records": 3}
    assert (outer.service, outer.parent_id, outer.failed) == ("tests", "", False)
    assert (inner.trace_id, inner.parent_id) == (outer.trace_id, outer.span_id)
    assert inner.failed
    assert inner.attributes["error.type"] == "builtins.ValueError"
    assert CONTENT.encode() not in b"".join(collector.bodies)


def test_the_header_of_a_record_names_the_span_it_was_sent_in(collector: Collector) -> None:
    with telemetry.span("sending"):
        name, value = telemetry.traceparent() or ("", b"")
        told = telemetry.trace_id()
    assert telemetry.traceparent() is None
    telemetry.stop_tracing()
    [sending] = collector.named("sending")
    assert (name, value.decode()) == ("traceparent", f"00-{sending.trace_id}-{sending.span_id}-01")
    assert told == sending.trace_id


def test_a_trace_that_nobody_keeps_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    with collecting() as collector:
        telemetry.configure_tracing(sending_to(collector.url), "tests")
        with telemetry.span("sending"):
            assert telemetry.traceparent() is None
        telemetry.stop_tracing()
        assert collector.spans == []


def test_work_is_linked_with_the_first_traces_of_its_records_and_with_nothing_else(
    collector: Collector,
) -> None:
    rubbish = [None, b"", b"\xff", header(0), header(7, "00"), b"00-" + b"x" * 52, b"x" * 1_000_000]
    good = [header(number) for number in range(1, 100)]
    work = telemetry.begin("batch")
    with work.step("land"):
        telemetry.linked_to([*rubbish, good[0], good[0], *good])
    with telemetry.span("elsewhere"):
        telemetry.linked_to(good)
    work.end(batch_id="t:0:0-9")
    telemetry.stop_tracing()
    [batch] = collector.named("batch")
    assert batch.links == tuple((f"{number:032x}", f"{number:016x}") for number in range(1, 33))
    assert batch.attributes == {"wotr.batch_id": "t:0:0-9"}
    assert collector.named("elsewhere")[0].links == ()
    [land] = collector.named("land")
    assert land.parent_id == batch.span_id


def test_headers_of_a_flood_are_not_read_to_the_end(collector: Collector) -> None:
    read = 0

    def flood() -> Iterator[bytes]:
        nonlocal read
        for read in range(1_000_000):  # noqa: B007 - it is looked at afterwards
            yield b"no trace"

    work = telemetry.begin("batch")
    with work.step("land"):
        telemetry.linked_to(flood())
    assert read < 2_000


def test_a_collector_that_hangs_holds_up_neither_the_work_nor_the_end() -> None:
    with silent() as collector:
        telemetry.configure_tracing(sending_to(collector.url), "tests")
        for _ in range(3_000):
            with telemetry.span("work"):
                pass
        assert collector.asked.wait(60)
        with telemetry.span("while it hangs"):
            pass
        telemetry.stop_tracing()
        assert telemetry.tracer() is None
        # Here the collector has still said nothing: nothing above waited for it.


def test_a_collector_that_is_away_is_said_once_and_not_once_a_batch(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        telemetry.configure_tracing(sending_to(f"http://127.0.0.1:{free_port()}"), "tests")
        for _ in range(3_000):
            with telemetry.span("work"):
                pass
        telemetry.stop_tracing()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1, said
    assert "Traces do not reach http://127.0.0.1:" in said[0]
    assert "Work goes on without them" in said[0]


def spans_in_two_batches() -> None:
    """The SDK sends 512 at once; this many are two batches at least, and fit into its queue."""
    for _ in range(1_000):
        with telemetry.span("work"):
            pass


def test_a_collector_that_refused_is_left_in_peace(collector: Collector) -> None:
    collector.status = 400
    spans_in_two_batches()
    telemetry.stop_tracing()
    assert collector.requests == 1


def test_a_collector_that_is_back_is_sent_spans_again_and_the_log_says_how_many_were_lost(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telemetry_export, "TRY_AGAIN_SECONDS", 0.0)
    collector.status = 400
    spans_in_two_batches()
    tracing = telemetry._tracing
    assert tracing is not None
    tracing.sender._provider.force_flush()
    assert collector.requests >= 2
    collector.status = 200
    with telemetry.span("when it is back"):
        pass
    telemetry.stop_tracing()
    assert [span.name for span in collector.spans] == ["when it is back"]
    away, back = [record.getMessage() for record in caplog.records]
    assert "Traces do not reach" in away
    assert "again; 1000 spans were lost" in back


def test_a_process_that_ends_sends_its_last_spans() -> None:
    program = """
import sys
from wotr_pipeline import telemetry
from wotr_pipeline.config import Settings
telemetry.configure_tracing(Settings(otel_exporter_otlp_endpoint=sys.argv[1]), "ending")
with telemetry.span("last"):
    pass
"""
    with collecting() as collector:
        subprocess.run(
            [sys.executable, "-c", program, collector.url], cwd=PROJECT_ROOT, check=True, timeout=60
        )
        assert [(span.service, span.name) for span in collector.spans] == [("ending", "last")]


def test_configuring_again_is_free_and_another_service_first_sends_what_there_is(
    collector: Collector,
) -> None:
    before = telemetry.tracer()
    telemetry.configure_tracing(sending_to(collector.url), "tests")
    assert telemetry.tracer() is before
    with telemetry.span("of the first"):
        pass
    telemetry.configure_tracing(sending_to(collector.url), "others")
    with telemetry.span("of the second"):
        pass
    telemetry.configure_tracing(sending_to(""), "others")
    assert [(span.service, span.name) for span in collector.spans] == [
        ("tests", "of the first"),
        ("others", "of the second"),
    ]
    assert telemetry.tracer() is None
