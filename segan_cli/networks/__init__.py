"""The networks: generator and discriminator."""
