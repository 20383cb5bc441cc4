"""Reads, completes and checks config.yaml; a sentence describes each mistake.

Its keys are the settings of the rooms and parts, declared beside the code that they configure (``settings.py``).
"""

from evenface.configuration.checking import check_config, config_digest, read_yaml

__all__ = ["check_config", "config_digest", "read_yaml"]
