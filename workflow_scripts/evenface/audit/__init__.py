"""Audits: how far the workflow's own instruments can be trusted."""
