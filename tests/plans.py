"""The plan that most tests look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evenface.plan.shards import Plan, build_plans


def build_plan(config: dict[str, Any], *, base: Path = Path(".")) -> Plan:
    """The plan of the configuration's first generator."""
    return next(iter(build_plans(config, base=base).values()))
