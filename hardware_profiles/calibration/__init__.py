"""Fitting profiles to measured kernels: tables read, one operation a file, residuals, writer."""
