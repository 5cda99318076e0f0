"""What a run leaves on disk: results.json, its schema, and run folders as they are found. Imports
neither torch, Lightning nor Hydra.
"""
