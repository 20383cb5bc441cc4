"""Stand-ins: rendered data sets in the published formats of data sets that cannot be shipped."""

#: Raise a number when the same declaration gives other files.
VERSIONS = {"standins": 3}
