"""A config's network, loss, sampler and guidance; opening what a run has trained."""
