"""Group fairness of binary attribute classifiers: counts, rates, gaps, intervals, tests. Knows no image and no network."""

from evenface.fairness.interop import metric_frame
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.summary import headline
from evenface.fairness.tables import evaluate, evaluate_predictions
from evenface.storage.csv import write_csv

__all__ = ["FairnessSettings", "evaluate", "evaluate_predictions", "headline", "metric_frame", "write_csv"]
