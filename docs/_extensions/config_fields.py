"""Writes ``docs/config.md`` before the site is built: all fields of all kinds of config, as in ``--help_config``."""

from collections.abc import Iterator
from pathlib import Path

from experiments.cli.config_help import Row, as_markdown, in_sections
from experiments.configs import base, base_classifier, base_contrastive, base_latent, base_sequence, base_transcriber
from experiments.configs.ood import ood_digits
from experiments.training import students

TITLE = """# Configs

Every field of a config, with its default, the values it may have and its meaning. Any of them is set on the command
line, as `--config.training.steps=5000`; a config file (`experiments/configs/`) sets some of them in Python. A field
`….name` names a choice, whose own fields stand under it and are left out (`None`) for its defaults. A terminal shows
the same:

```bash
python -m experiments.train --config=experiments/configs/images/digits.py --help_config
python -m experiments.train --help_config=solver
```

In Python a config is checked before anything is loaded, and a mistake is one sentence:

```python
from experiments.cli.config import ConfigError
from experiments.configs import base

config = base.get_config()
config.training.steps = 5000
base.check_fields(config)
config.schedule.s = -1.0
try:
    base.check_fields(config)
except ConfigError as error:
    assert str(error) == "config.schedule.s=-1.0: must be finite and >= 0 for schedule.name=cosine"
```
"""
SHARED = "these, and the fields of models under `data` and `training`."
KINDS = {
    "Classifiers": (
        "`experiments.train_classifier`: these, and the fields of models under `data`, `schedule`, `loss.times`, "
        "`training`.",
        base_classifier,
    ),
    "Autoencoders": (f"`experiments.latents.train`: {SHARED}", base_latent),
    "Models of sequences": (f"`experiments.train`, of discrete symbols: {SHARED}", base_sequence),
    "Contrastive encoders": (f"`experiments.text.contrastive`: {SHARED}", base_contrastive),
    "Transcribers": (f"`experiments.music.train_transcriber`: {SHARED}", base_transcriber),
    "Out-of-distribution detection": (
        "`experiments.ood.detect`: these, and a config of a model under `train`.",
        ood_digits,
    ),
}


def _sections() -> Iterator[tuple[str, str, list[Row]]]:
    models = in_sections(base.FIELDS.rows())
    yield "Models", "`experiments.train`; what it saved is the config of all that open a run.", models
    for method, section in students.SECTIONS.items():
        words = "`experiments.distill`: the fields of the teacher's config and these."
        yield f"Distillation, `--method={method}`", words, list(section.rows("distillation"))
    for title, (words, module) in KINDS.items():
        rows = in_sections(module.FIELDS.rows())
        yield title, words, [row for row in rows if row not in models and not row.path.startswith("train.")]


def page() -> str:
    """The page, as Markdown."""
    return "\n".join(
        [TITLE, *(f"## {title}\n\n{words}\n\n{as_markdown(rows)}\n" for title, words, rows in _sections())]
    )


def setup(app):
    app.connect("builder-inited", lambda app: Path(app.srcdir, "config.md").write_text(page()))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
