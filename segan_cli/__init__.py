"""segan: a command-line speech denoiser around the speech enhancement GAN (arXiv 1703.09452)."""

__version__ = "0.1.0"
