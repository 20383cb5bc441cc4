"""The report: one HTML page with its figures, contact sheets."""

#: Raised when the same tables give another page.
VERSIONS = {"report": 7}
