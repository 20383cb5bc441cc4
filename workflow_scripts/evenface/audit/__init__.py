"""Audits: how far the workflow's own instruments can be trusted."""

#: Raise a number when the same annotations give other tables, or the same network gives another study of its score.
VERSIONS = {"agreement": 5, "dataset_confusion": 1, "quality_study": 2}
