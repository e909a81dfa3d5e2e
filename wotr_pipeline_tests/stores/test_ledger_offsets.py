"""Sets of offsets survive the way into PostgreSQL and back."""

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wotr_pipeline.stores.ledger_offsets import as_multirange, offsets_of

BIG = 2**62


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offsets=st.sets(st.one_of(st.integers(0, 60), st.integers(BIG, BIG + 60))))
def test_any_set_of_offsets_comes_back_as_it_was(database: sa.Engine, offsets: set[int]) -> None:
    with database.connect() as connection:
        text = connection.scalar(sa.select(sa.cast(as_multirange(sorted(offsets)), sa.Text)))
    assert offsets_of(text) == sorted(offsets)


def test_a_whole_replay_is_one_range(database: sa.Engine) -> None:
    with database.connect() as connection:
        text = connection.scalar(sa.select(sa.cast(as_multirange(range(5, 200_005)), sa.Text)))
    assert text == "{[5,200005)}"
