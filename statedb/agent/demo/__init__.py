"""The demonstration: `statedb demo`."""
