"""What a run leaves on disk: results.json, its schema, and run folders. Imports neither torch, Lightning nor Hydra."""
