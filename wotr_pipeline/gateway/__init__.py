"""The HTTP edge: events in, and pages and metrics for the people who run the platform. One process, port 8000.

- ``app``        the application: which router serves what, start and stop
- ``services``   what the routes share: stores, keys, the publisher
- ``access``     who may do what: keys, sessions, scopes, rate limits
- ``problems``   every refusal, as RFC 9457 JSON or as a page
- ``ingest``     POST /ingest, /ingest/batch, /validate
- ``events``     GET /events/{id}, /retention-policies
- ``health``     GET /health, /health/live, /health/ready
- ``metrics``    GET /metrics
- ``registry``   /registry: Avro schemas, as Confluent's clients ask for them
- ``admin``, ``explorer``, ``sign_in``  the pages; ``templates/`` and ``static/`` are theirs

Belongs here: HTTP. Does not belong here: rules on events (``events/``), drivers (``stores/``), work that takes
longer than a request (``operations/``, launched through Dagster).
"""
