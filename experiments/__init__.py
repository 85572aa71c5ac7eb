"""The programs: train, sample, evaluate, and what they show. Only here are absl and ml_collections used."""
