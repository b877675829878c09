"""Training of a teacher, and its distillation into students."""
