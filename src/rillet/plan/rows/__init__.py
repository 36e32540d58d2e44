"""Row plans: segments, ring buffers and one arena."""

from rillet.plan.rows.planner import plan_layerwise, plan_rows

__all__ = ["plan_layerwise", "plan_rows"]
