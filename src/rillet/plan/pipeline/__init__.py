"""Pipeline plans: one stage a layer, all weights on chip, activations streamed pixel by pixel."""
