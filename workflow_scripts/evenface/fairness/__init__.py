"""Group fairness of binary attribute classifiers: counts, rates, gaps, bounds. Knows no image and no network."""

from evenface.fairness.csv import write_csv
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.tables import evaluate, evaluate_predictions, headline

__all__ = ["FairnessSettings", "evaluate", "evaluate_predictions", "headline", "write_csv"]
