"""Programs that measure the library: quality, cost, and comparisons with other packages and published results."""
