"""The subcommands of `sgl-lite` that are more than a few lines."""
