"""Subjects, a folder each: a project imports the tasks and what is below them, and no other project."""
