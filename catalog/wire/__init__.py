"""How Cilium spells the tables: key names, labels, values. Pure: encode and decode, side by side."""
