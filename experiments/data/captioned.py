"""Images of TFDS with captions, held in memory: emoji in two styles of drawing."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from experiments.cli.fields import Text
from experiments.data.builders import DATA_DIR, sets
from experiments.data.display import Preview
from experiments.data.images import ImageSet
from experiments.data.sources import Arrays, reading
from experiments.data.transforms import Resized
from scorekit.arguments import OneOf


@dataclass(kw_only=True, eq=False)
class Captioned(ImageSet):
    """Captioned emoji; combinations of concepts that training never has together are held out.

    Args:
      set: its TFDS name.
      data_dir: folder of TFDS.
      label: "style", "group", or "none" for a single class.
    """

    set: Annotated[str, Text("the TFDS name of a set of captioned images")] = "captioned_emoji"
    data_dir: Annotated[str, Text("a folder")] = DATA_DIR
    label: Annotated[str, OneOf("none", "style", "group")] = "none"

    def __post_init__(self):
        super().__post_init__()
        self.labelled = True  # a single class is one as well

    def open(self):
        with reading():
            splits = self.train_split, self.test_split
            parts = [sets.load_captioned(self.set, split, self.data_dir) for split in splits]
        self.styles, self.credit = parts[0].styles, parts[0].credit
        return tuple(Resized(self._source(part), self.image_size) for part in parts)

    def _source(self, part: sets.CaptionedImages) -> Arrays:
        of_each = {"style": (part.style, part.styles), "group": (part.label, part.classes)}
        label, classes = of_each.get(self.label, (np.zeros(len(part.x), np.int32), ()))
        fields = {"classes": classes, "caption": part.captions, "subject": part.names}
        return Arrays("captioned_emoji", 256, part.x, label, max(1, len(classes)), **fields)

    def preview(self):
        """Ten samples of each class that test images, and so held-out captions, have; 40 of a single one."""
        present = np.unique(self.test["label"])[:10]
        rows = None if self.num_classes == 1 else self.named(present)
        return Preview(np.repeat(present, 40 if rows is None else 10), rows)

    def guidance_labels(self):
        return np.resize(np.unique(self.test["label"]), 10).astype(np.int32)
