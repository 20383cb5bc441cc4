"""Audits: how far the workflow's own instruments can be trusted."""

#: Raised when the same annotations give other tables of agreement, or the same network another study of its score.
VERSIONS = {"agreement": 3, "quality_study": 1}
