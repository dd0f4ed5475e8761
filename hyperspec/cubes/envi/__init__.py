"""ENVI headers, axes and files, read and written strictly."""
