"""Flow maps, and students that take few steps, of a diffusion model."""
