r"""The notes of ``notes_spectrogram.py``, trained shortly, as the start of the flow maps of ``flow_map_notes.py``.

    python -m experiments.train --config=experiments/configs/notes/flow_map_notes_teacher.py \
        --workdir=runs/notes_teacher
    python -m experiments.export --workdir=runs/notes_teacher --out=weights/notes_teacher

4.5 CPU minutes: in 25 steps, the pitch of 0.979 of the notes is right and the family of 0.40, with a Fréchet distance
of 4.23 (docs/flow_maps.md).
"""

from experiments.configs.notes import notes_spectrogram


def get_config():
    config = notes_spectrogram.get_config()
    config.preconditioning.noise.name = "clock"  # bounded along a path, as the losses of flow maps need it
    config.training.update(steps=600, warmup_steps=100)
    config.training.update(ema_decays=(0.99,), sample_every=5000, checkpoint_every=250)
    config.sampling.ema = "0.99"
    config.evaluation.update(num_samples=64, bound_times=4, guidance_scales=(1.0,))
    return config
