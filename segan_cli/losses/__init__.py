"""Losses: reconstruction terms on signals, adversarial objectives on logits, penalties on the discriminator."""
