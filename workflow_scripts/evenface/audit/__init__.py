"""Audits: how far the workflow's own instruments can be trusted."""

#: Raised when the same annotations give other tables of agreement.
VERSIONS = {"agreement": 2}
