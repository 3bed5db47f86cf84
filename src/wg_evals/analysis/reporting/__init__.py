"""The report over a folder of logs: one page, its figures and its tables."""
