"""Training: the state, the adversarial game, one step, its health, and the loop."""
