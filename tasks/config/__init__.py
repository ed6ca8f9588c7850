"""The sections of params.yaml as frozen typed objects; `tasks.runner.params` reads the file into them.

One section per stage, plus sections that several stages share (`SHARED`). A stage's config holds its own
section's fields and, as fields of the same name, the shared sections it names.
"""
