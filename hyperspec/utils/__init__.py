"""What every room may use, and knows nothing of spectra: errors, files, processes, text."""
