"""The command line and the steps of a run. Everything that uses Hydra or OmegaConf is here. Imports every package but
`report`.
"""
