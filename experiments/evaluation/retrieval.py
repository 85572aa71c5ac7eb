"""Whether embeddings of pictures and captions find each other."""

from collections.abc import Sequence

import numpy as np

from experiments.models.samples import check_samples
from scorekit.metrics import retrieval_accuracy


def retrieval(
    pictures: np.ndarray, texts: np.ndarray, subjects: np.ndarray, counts: Sequence[int] = (1, 5)
) -> dict[str, float]:
    """Recall among all pairs: how often a caption, or a picture, of the same subject is among the ``k`` closest.

    Args:
      pictures: embeddings of pictures, ``(N, D)``.
      texts: embeddings of their captions, likewise.
      subjects: integers ``(N,)``, equal for pictures that show the same, whose captions are right for each other.
      counts: the ``k``.

    Returns:
      By name the fraction of pictures for which a right caption is found, the fraction of captions for which a right
      picture is found, and the same by chance. Equal similarities count as in a random order.

    Raises:
      ConfigError: if an embedding is not finite.

    >>> retrieval(np.eye(4), np.eye(4), np.arange(4), (1,))
    {'caption of a picture, R@1': 1.0, 'picture of a caption, R@1': 1.0, 'chance, R@1': 0.25}
    """
    for name, found in (("pictures", pictures), ("captions", texts)):
        check_samples(found, "contrastive encoders", f"embeddings of {name}")
    similarity = np.asarray(pictures) @ np.asarray(texts).T
    right = np.asarray(subjects)[:, None] == np.asarray(subjects)
    named = {
        "caption of a picture": similarity,
        "picture of a caption": similarity.T,
        "chance": np.zeros_like(similarity),
    }
    mean = lambda scores, k: float(np.mean(np.asarray(retrieval_accuracy(scores, right, k=k), np.float64)))
    return {f"{name}, R@{k}": mean(scores, k) for k in counts for name, scores in named.items()}
