"""Attacks on the whole project: hostile arguments, malformed configs, kills, damaged files, full disks."""
