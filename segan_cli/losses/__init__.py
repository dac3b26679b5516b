"""Losses: reconstruction terms on waveforms, adversarial objectives on logits, penalties on the discriminator."""
