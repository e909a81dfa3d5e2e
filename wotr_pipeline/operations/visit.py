"""The demo as a client of the gateway: it sends events over HTTP and opens the pages.

Belongs here: those requests. Does not belong here: what the gateway does with them (``gateway/``).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import requests

from wotr_pipeline.config import Settings
from wotr_pipeline.operations.sample_events import Sample, SampleAccount, records
from wotr_pipeline.stores.errors import TransientError

BATCH = 1000
TIMEOUT_SECONDS = 60
PAGES = ("/health", "/metrics", "/admin/", "/admin/dead-letters/", "/explorer/")


@dataclass(frozen=True)
class Answered:
    """What the gateway said of the events it was sent."""

    accepted: int
    repeated: int
    rejected: int

    @property
    def sent(self) -> int:
        """All of them."""
        return self.accepted + self.repeated + self.rejected


@dataclass(frozen=True)
class Opened:
    """One page that was asked for."""

    path: str
    status: int


def send(sample: Sample, settings: Settings) -> Answered:
    """Send the sample in batches of lines.

    Raises:
        TransientError: the gateway is away, or could not take a batch.
    """
    counts: Counter[str] = Counter()
    lines = _lines(sample)
    with _session(settings) as session:
        while batch := list(islice(lines, BATCH)):
            answer = _ask(
                session,
                "POST",
                f"{settings.wotr_gateway_url}/ingest/batch",
                data=b"\n".join(batch),
                headers={"Content-Type": "application/x-ndjson"},
            )
            if answer.status_code != 202:
                raise TransientError(
                    f"The gateway answered {answer.status_code} to a batch of {len(batch)} events."
                )
            told = answer.json()
            counts.update({name: told[name] for name in ("accepted", "repeated", "rejected")})
    return Answered(counts["accepted"], counts["repeated"], counts["rejected"])


def open_pages(settings: Settings) -> list[Opened]:
    """Ask for each of ``PAGES`` as a signed-in person would."""
    with _session(settings) as session:
        return [
            Opened(page, _ask(session, "GET", settings.wotr_gateway_url + page).status_code) for page in PAGES
        ]


def _lines(sample: Sample) -> Iterator[bytes]:
    """Records that can be a line of NDJSON."""
    for record in records(sample, SampleAccount()):
        if record.value and record.value.strip() and b"\n" not in record.value:
            yield record.value


def _session(settings: Settings) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.headers["X-API-Key"] = settings.api_keys.get_secret_value().split(",")[0]
    return session


def _ask(session: requests.Session, method: str, url: str, **request: object) -> requests.Response:
    try:
        return session.request(method, url, timeout=TIMEOUT_SECONDS, allow_redirects=False, **request)  # type: ignore[arg-type]
    except requests.RequestException as error:
        raise TransientError(f"The gateway at {url} does not answer ({type(error).__name__}).") from None
