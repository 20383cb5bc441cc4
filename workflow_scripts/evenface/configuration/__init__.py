"""config.yaml: what it may say, read, completed and checked; mistakes are answered with a sentence.

Its keys are the settings of the rooms and parts, each declared beside the code that it configures (``settings.py``).
"""

from evenface.configuration.checking import check_config, config_digest, read_yaml

__all__ = ["check_config", "config_digest", "read_yaml"]
