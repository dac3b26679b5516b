"""The configs of each family of networks, without torch; each names its torch module."""
