"""The Sunday maintenance window, one module a step."""
