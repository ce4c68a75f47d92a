"""All config models: frozen, validated, and unknown keys refused."""
