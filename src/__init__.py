"""Human pose estimation on MindSpore: one data pipeline and evaluator, interchangeable networks."""
