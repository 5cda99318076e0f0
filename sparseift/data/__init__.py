"""Data modules: how samples are loaded, in batches that resume and shard. Imports Lightning and `common`."""
