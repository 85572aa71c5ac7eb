"""The threshold of onsets that is best on training phrases: no held-out phrase has a part in the choice."""

import jax.numpy as jnp
import numpy as np

from experiments.data.dataset import Batch
from experiments.music import decoding, transcription
from experiments.reporting.report import Table
from scorekit import audio

THRESHOLDS = tuple(round(0.1 + 0.05 * i, 2) for i in range(13))
"""That are tried, 0.1 to 0.7."""


def choose(found: transcription.Trained, training: Batch) -> tuple[transcription.Trained, Table]:
    """The transcriber with the threshold of the largest mean onset F1 on these phrases, and the F1 of all."""
    keys = found.predict(np.asarray(audio.pcm_to_float(jnp.asarray(training["x"]))))
    played = transcription.played(found, training["roll"])
    values = []
    for threshold in THRESHOLDS:
        notes = transcription.decode(found, keys, threshold)
        values.append(float(np.mean([decoding.onset_f1(*each) for each in zip(played, notes, strict=True)])))
    best = THRESHOLDS[int(np.argmax(values))]
    rows = [[f"{threshold:g}", value] for threshold, value in zip(THRESHOLDS, values, strict=True)]
    caption = f"means over {len(played)} training phrases; {best:g} is used"
    return found._replace(onset_threshold=best), Table(["threshold of onsets", "onset F1"], rows, caption)
