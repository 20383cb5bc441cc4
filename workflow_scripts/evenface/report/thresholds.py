"""The report's table of thresholds: what was chosen on how many validation images, and how far chance moves it."""

from __future__ import annotations

from collections.abc import Mapping


def thresholds_section(manifests: Mapping[str, dict]) -> dict:
    """Rows of the thresholds that were chosen or should have been, and how many are fixed by setting."""
    rows, fixed = [], 0
    for model, manifest in manifests.items():
        for attribute, value in manifest.get("thresholds", {}).items():
            chosen = manifest.get("threshold_choice", {}).get(attribute, {})
            if chosen.get("n_validation"):
                rows.append({"model": model, "attribute": attribute, "threshold": value, **chosen})
            else:
                fixed += 1
    return {"rows": rows, "fixed": fixed}
