"""Run folders and results.json: schema, reading and writing. Imports neither torch, Lightning nor Hydra."""
