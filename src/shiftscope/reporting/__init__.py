"""Figures and the report: plain results and numpy arrays in, matplotlib figures and one HTML page out. No torch.

Figures are `matplotlib.figure.Figure` objects, built without pyplot: no window opens, no global setting changes.
"""

from shiftscope.reporting.audit_classes import class_maps
from shiftscope.reporting.audit_histogram import right_counts_histogram
from shiftscope.reporting.audit_images import wavering_images
from shiftscope.reporting.audit_map import accuracy_map
from shiftscope.reporting.audit_phases import phase_tables
from shiftscope.reporting.audit_set import NamedFigure, audit_figures
from shiftscope.reporting.cells import ControlCell, control_cells, moving_cost
from shiftscope.reporting.confusion import confusion_matrix
from shiftscope.reporting.controls import controls_table
from shiftscope.reporting.curves import training_curves
from shiftscope.reporting.equivariance import layer_profile
from shiftscope.reporting.gallery import classified_gallery, sample_gallery
from shiftscope.reporting.neighbors import neighbors_figure
from shiftscope.reporting.parameters import class_neurons
from shiftscope.reporting.prediction import prediction_figure
from shiftscope.reporting.quality import quality_figure, quality_sentence
from shiftscope.reporting.report import ReportData, ReportFigure, render_report, report_figure
from shiftscope.reporting.save import few_colors, render_figure, save_figure
from shiftscope.reporting.style import alt_text
from shiftscope.reporting.synthesis import class_gallery, neuron_gallery
from shiftscope.reporting.weights import weight_grid
from shiftscope.reporting.wording import image_credit, model_title, thing

__all__ = [
    "ControlCell", "NamedFigure", "ReportData", "ReportFigure", "accuracy_map", "alt_text", "audit_figures",
    "class_gallery", "class_maps", "class_neurons", "classified_gallery", "confusion_matrix", "control_cells",
    "controls_table", "few_colors", "image_credit", "layer_profile", "model_title", "moving_cost", "neighbors_figure",
    "neuron_gallery", "phase_tables", "prediction_figure", "quality_figure", "quality_sentence", "render_figure",
    "render_report", "report_figure", "right_counts_histogram", "sample_gallery", "save_figure", "thing",
    "training_curves", "wavering_images", "weight_grid",
]
