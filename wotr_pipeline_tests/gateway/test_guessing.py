"""Guessing keys: slowed down, and nobody else pays for it. Alone with its gateway, which stays wary for a minute."""

from wotr_pipeline.gateway.access import FAILURES_PER_MINUTE
from wotr_pipeline.stores.api_keys import Scope

from .conftest import Edge


def _status(edge: Edge, key: str) -> int:
    return edge.client(**{"X-API-Key": key}).get("/retention-policies").status_code


def test_an_address_that_guesses_keys_is_slowed_down(edge: Edge) -> None:
    known = edge.key(Scope.READ)
    assert _status(edge, known) == 200
    client = edge.client(**{"X-API-Key": "wotr_000000000000_guess"})
    statuses = [client.get("/retention-policies").status_code for _ in range(FAILURES_PER_MINUTE + 20)]
    assert {401, 429} == set(statuses)
    assert _status(edge, known) == 200, "who has a key is served all the same"
