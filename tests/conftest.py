"""Shared fixtures: the repository's root and its shipped configuration."""

from pathlib import Path

import pytest
import yaml
from evenface.configuration import check_config, load_schema

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def schema() -> dict:
    return load_schema(ROOT / "schemas/config.schema.yaml")


@pytest.fixture
def shipped_config() -> dict:
    """config.yaml as written, defaults not filled in."""
    return yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.fixture
def config(shipped_config, schema) -> dict:
    """config.yaml, checked and with defaults."""
    return check_config(shipped_config, schema)
