"""Stand-ins: rendered data sets in the published formats of those that cannot be shipped."""
