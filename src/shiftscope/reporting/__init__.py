"""Figures and the HTML report, made from results and NumPy arrays without torch.

Figures are `matplotlib.figure.Figure` objects, built without pyplot: no window opens, no global setting changes.
"""

from shiftscope.reporting.audit_figures import NamedFigure, audit_figures
from shiftscope.reporting.audit_histogram import correct_placements_histogram
from shiftscope.reporting.audit_images import inconsistent_images
from shiftscope.reporting.audit_maps import accuracy_map, agreement_map, class_maps, phase_tables
from shiftscope.reporting.confusion import confusion_matrix
from shiftscope.reporting.controls import ControlCell, control_cells, placement_cost
from shiftscope.reporting.controls_figure import controls_table
from shiftscope.reporting.curves import training_curves
from shiftscope.reporting.equivariance import layer_profile
from shiftscope.reporting.everywhere import everywhere_csv, everywhere_figure
from shiftscope.reporting.figure_style import alt_text, reduce_colors, render_figure, save_figure
from shiftscope.reporting.formatting import image_credit, model_title
from shiftscope.reporting.gallery import classified_gallery, prediction_figure, sample_gallery
from shiftscope.reporting.neighbors import neighbors_figure
from shiftscope.reporting.prediction_map import prediction_map_figure, prediction_map_text
from shiftscope.reporting.quality import quality_figure, quality_summary
from shiftscope.reporting.report import ReportData, ReportFigure, render_report, report_figure
from shiftscope.reporting.synthesis import class_gallery, neuron_gallery
from shiftscope.reporting.weights import class_neurons, weight_grid

__all__ = [
    "ControlCell", "NamedFigure", "ReportData", "ReportFigure", "accuracy_map", "agreement_map", "alt_text",
    "audit_figures",
    "class_gallery", "class_maps", "class_neurons", "classified_gallery", "confusion_matrix", "control_cells",
    "controls_table", "correct_placements_histogram", "everywhere_csv", "everywhere_figure",
    "image_credit", "inconsistent_images", "layer_profile",
    "model_title", "neighbors_figure", "neuron_gallery", "phase_tables", "placement_cost", "prediction_figure",
    "prediction_map_figure", "prediction_map_text", "quality_figure", "quality_summary", "reduce_colors",
    "render_figure", "render_report", "report_figure", "sample_gallery", "save_figure", "training_curves",
    "weight_grid",
]
