"""The report: gather results, choose the images to show, draw the figures, and write the page."""
