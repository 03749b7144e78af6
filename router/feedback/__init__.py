"""What people say of answers: `/v1/feedback`, what it is worth told live, and answers checked against their context."""

from router.feedback.room import FeedbackRoom as FeedbackRoom
from router.feedback.room import open_feedback as open_feedback

__all__ = ["FeedbackRoom", "open_feedback"]
