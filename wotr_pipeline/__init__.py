"""WOTR's data platform: events from Kafka to ClickHouse, each one exactly once."""
