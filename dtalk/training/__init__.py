"""Training of a teacher and distillation of students."""
