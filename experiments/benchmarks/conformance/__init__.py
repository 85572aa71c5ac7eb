"""The checks of scorekit.conformance on six packages."""
