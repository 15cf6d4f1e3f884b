"""Which subjects come with the project? Four small ones, trained on simulated films by `train.py`.

They prove the suites: *fragile*, trained as plainly as the published model, should show the documented failure modes;
*hardened*, the same network trained against them, should show fewer; *probe* is another kind of network to compare
with; *findings* answers five findings at once, each with a sigmoid. They are a demonstration and a self-test. They have
never seen a patient, and nothing they say is medical.

Each folder is in the Hub's layout (config.json, preprocessor_config.json, model.safetensors in half precision) and is
loaded by the code that loads the published weights; training.json is its record. To make them again:

    uv run python -m suites.harness.subjects.bundled.train [NAME ...]

To change one, edit its entry in `recipes.py`. `cohorts.py` has the films, `learning.py`, `probe.py` and `findings.py`
the training, `export.py` the files. The films are this project's own phantoms; the weights are under its MIT licence.
"""
