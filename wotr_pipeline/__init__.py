"""WOTR's data platform: events from Kafka to ClickHouse, each one exactly once."""

import gc

# Python looks for garbage after every 700 new objects, and imports make a million that all stay: a tenth of the time
# that a run or a command takes to start.
gc.set_threshold(10_000, 10, 10)
