"""Stand-ins: rendered data sets in the published formats of those that cannot be shipped."""

#: Raised when the same declaration gives other files.
VERSIONS = {"standins": 3}
