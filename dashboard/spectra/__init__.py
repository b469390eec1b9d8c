"""The Spectra page: why the inputs of layers can be compressed."""
