"""What each stage of the pipeline does: typed config and files in, files and metrics out."""
