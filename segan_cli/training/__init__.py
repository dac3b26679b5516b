"""Training: state, adversarial losses, one step, health, and the loop."""
