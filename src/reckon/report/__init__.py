"""The report of a run: one HTML file that opens offline. See :func:`reckon.report.build.build_report`."""
