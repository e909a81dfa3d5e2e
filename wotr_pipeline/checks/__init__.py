"""Asset checks: Great Expectations suites inside the engine, and reconciliations between stores."""
