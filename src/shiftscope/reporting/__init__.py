"""Figures and the report: plain results and numpy arrays in, matplotlib figures and one HTML page out. No torch.

Figures are `matplotlib.figure.Figure` objects, built without pyplot: no window opens, no global setting changes.
"""

from shiftscope.reporting.cells import ControlCell, control_cells, moving_cost
from shiftscope.reporting.confusion import confusion_matrix
from shiftscope.reporting.controls import controls_table
from shiftscope.reporting.curves import training_curves
from shiftscope.reporting.gallery import classified_gallery, sample_gallery
from shiftscope.reporting.parameters import class_neurons
from shiftscope.reporting.prediction import prediction_figure
from shiftscope.reporting.report import ReportData, ReportFigure, render_report, report_figure
from shiftscope.reporting.save import render_figure, save_figure
from shiftscope.reporting.style import alt_text
from shiftscope.reporting.synthesis import class_gallery, neuron_gallery
from shiftscope.reporting.weights import weight_grid
from shiftscope.reporting.wording import image_credit, model_title, thing

__all__ = [
    "ControlCell", "ReportData", "ReportFigure", "alt_text", "class_gallery", "class_neurons", "classified_gallery",
    "confusion_matrix", "control_cells", "controls_table", "image_credit", "model_title", "moving_cost",
    "neuron_gallery", "prediction_figure", "render_figure", "render_report", "report_figure", "sample_gallery",
    "save_figure", "thing", "training_curves", "weight_grid",
]
