"""The report: one HTML page with its figures, and contact sheets."""

#: Raise a number when the same tables give another page.
VERSIONS = {"report": 15}
