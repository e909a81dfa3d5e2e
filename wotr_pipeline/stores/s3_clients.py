"""Clients of the object store for one or two small requests.

Belongs here: making them. Does not belong here: objects (``objects.py``), what is asked.
"""

from typing import Any

import botocore.session
from botocore.config import Config
from botocore.loaders import create_loader

# The description of S3: a tenth of a second of a processor each time that it is read.
_DESCRIPTIONS = create_loader()


def small_client(
    endpoint: str, access_key: str, secret_key: str, connect_seconds: float, read_seconds: float
) -> Any:
    """A client that tries each request once, and raises what botocore raises."""
    session = botocore.session.Session()
    session.register_component("data_loader", _DESCRIPTIONS)
    return session.create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
        ),
    )
