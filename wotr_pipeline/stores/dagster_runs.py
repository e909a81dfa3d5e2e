"""Dagster's runs, asked for through its web server: what takes longer than a request is a run that everyone can see.

Belongs here: launching a job and asking what became of a run. Does not belong here: what a job does
(``operations/``), run configs (whoever launches knows the job).
Concept: https://docs.dagster.io/api/clients/graphql-client
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError
from gql.transport.exceptions import TransportError
from gql.transport.requests import RequestsHTTPTransport
from requests.exceptions import RequestException

from ..config import Settings
from .errors import PermanentError, StoreError, TransientError

SECONDS = 10
"""A launch waits for the code server, which may be loading: longer than a page should take, but bounded."""
LOCATION = "wotr_pipeline"
REPOSITORY = "__repository__"


@dataclass(frozen=True)
class RunStatus:
    """How far a run has come, in Dagster's words."""

    run_id: str
    status: str

    @property
    def finished(self) -> bool:
        """Whether it has ended, well or not."""
        return self.status in ("SUCCESS", "FAILURE", "CANCELED")


class DagsterRuns:
    """Raises TransientError when Dagster is away, PermanentError when it refuses. Blocks: call it in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._url = (settings.wotr_dagster_api_url or settings.wotr_dagster_url).rstrip("/")

    def launch(self, job: str, config: Mapping[str, object], tags: Mapping[str, str]) -> str:
        """Ask for a run of a job; gives its id."""
        try:
            run_id: str = self._client().submit_job_execution(
                job, LOCATION, REPOSITORY, run_config=dict(config), tags=dict(tags)
            )
        except (DagsterGraphQLClientError, TransportError, RequestException, OSError) as error:
            raise self._failure(error, f"launch {job}") from None
        return run_id

    def status(self, run_id: str) -> RunStatus:
        """What became of a run."""
        try:
            status = self._client().get_run_status(run_id)
        except (DagsterGraphQLClientError, TransportError, RequestException, OSError) as error:
            raise self._failure(error, "tell a run's status") from None
        return RunStatus(run_id, status.value)

    def page_of(self, run_id: str) -> str:
        """Where people see a run."""
        return f"{self._url}/runs/{run_id}"

    def _client(self) -> DagsterGraphQLClient:
        # Made anew each time: it holds nothing worth keeping, and is not made for several threads.
        transport = RequestsHTTPTransport(
            url=f"{self._url}/graphql", use_json=True, timeout=SECONDS, retries=0
        )
        return DagsterGraphQLClient(urlsplit(self._url).hostname or "", transport=transport)

    def _failure(self, error: Exception, what: str) -> StoreError:
        # The client's texts quote whole queries and stack traces; its first argument is a short kind where there is one.
        kind = str(error.args[0]) if isinstance(error, DagsterGraphQLClientError) and error.args else ""
        if not kind.isidentifier():
            return TransientError(f"Dagster at {self._url} did not {what}: its web server does not answer.")
        text = f"Dagster at {self._url} refused to {what} ({kind})."
        if kind in ("PythonError", "RunConflict"):
            return TransientError(f"{text} Is its code location loaded? {self._url}/locations shows it.")
        return PermanentError(f"{text} Is this version deployed there? {self._url}/locations shows it.")
