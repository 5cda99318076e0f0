"""What a network computes: traces, layers, copies on the meta device, FLOPs. Imports torch and `common`."""
