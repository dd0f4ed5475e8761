"""One page that shows the specimens of a folder as an encoder sees them."""
