"""Writes ``docs/config.md``: every field of every kind of config, as ``--help_config`` prints them.

    python -m experiments.analysis.config_page

A test compares the committed page with what :func:`page` makes.
"""

from collections.abc import Mapping
from pathlib import Path

from ml_collections import ConfigDict

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config_help import Declaration, as_markdown
from experiments.configs import base, base_classifier, base_contrastive, base_latent, base_sequence, base_transcriber
from experiments.configs.ood import ood_digits
from experiments.training import students

PATH = Path("docs/config.md")
COMMAND = "python -m experiments.analysis.config_page"

_OUT = shared.out("File to write.", str(PATH))

TITLE = f"""# Configs

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
    assert str(error) == "config.schedule.s=-1.0: must be at least 0 and finite"
```

This page is made from the code by `{COMMAND}`.
"""


def page() -> str:
    """The page, as Markdown."""
    model = base.declaration()
    own_of_ood = {"": ood_digits.get_config}
    distillations = {
        f"Distillation, `--method={method}`": (
            "`experiments.distill`: the fields of the teacher's config and these.",
            students.declaration(Declaration({}, {}), method),
        )
        for method in students.SECTIONS
    }
    kinds: Mapping[str, tuple[str, Declaration]] = {
        "Models": ("`experiments.train`; what it saved is the config of all that open a run.", model),
        **distillations,
        "Classifiers": (
            "`experiments.train_classifier`: these, and the fields of models under `data`, `schedule`, `loss.times`, "
            "`training`.",
            base_classifier.declaration(),
        ),
        "Autoencoders": (
            "`experiments.latents.train`: these, and the fields of models under `data` and `training`.",
            base_latent.declaration(),
        ),
        "Models of sequences": (
            "`experiments.train`, of discrete symbols: these, and the fields of models under `data` and `training`.",
            base_sequence.declaration(),
        ),
        "Contrastive encoders": (
            "`experiments.text.contrastive`: these, and the fields of models under `data` and `training`.",
            base_contrastive.declaration(),
        ),
        "Transcribers": (
            "`experiments.music.train_transcriber`: these, and the fields of models under `data` and `training`.",
            base_transcriber.declaration(),
        ),
        "Out-of-distribution detection": (
            "`experiments.ood.detect`: these, and a config of a model under `train`.",
            Declaration(own_of_ood, ood_digits.ranges()),
        ),
    }
    known = model.fields()
    parts = [TITLE]
    for title, (words, declaration) in kinds.items():
        own = [
            field
            for field in declaration.fields()
            if declaration is model or not (field in known or field.path.startswith("train."))
        ]
        parts.append(f"## {title}\n\n{words}\n\n{as_markdown(own)}\n")
    return "\n".join(parts)


def main(_: ConfigDict) -> None:
    out = shared.results(_OUT, None, "")
    out.write_text(page())
    print(f"wrote {out}")


if __name__ == "__main__":
    command_line.run(main, ConfigDict, lambda config: None)
