"""The application: the command line, Hydra, and the steps of a run. Imports every other
package; Hydra and OmegaConf stay here.
"""
