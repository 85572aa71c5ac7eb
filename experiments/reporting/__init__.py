"""Reports, tables, plots, pictures and audio widgets."""
