"""A network, a codec and a recipe from outside the package: what docs/architecture.md says it takes, and no more."""
