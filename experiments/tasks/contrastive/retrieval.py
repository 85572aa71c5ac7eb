"""Whether embeddings of pictures and captions find each other."""

import numpy as np

from experiments.models.samples import check_samples
from scorekit.metrics import retrieval_accuracy


def retrieval(pictures: np.ndarray, texts: np.ndarray, subjects: np.ndarray) -> dict[str, float]:
    """Recall among all pairs: how often a caption, or a picture, of the same subject is among the 1 or 5 closest.

    Args:
      pictures: embeddings of pictures, ``(N, D)``.
      texts: embeddings of their captions, likewise.
      subjects: integers ``(N,)``, equal for pictures that show the same, whose captions are right for each other.

    Returns:
      By name the fraction of pictures for which a right caption is found, the fraction of captions for which a right
      picture is found, and the same by chance. Equal similarities count as in a random order.

    Raises:
      ConfigError: if an embedding is not finite.

    >>> found = retrieval(np.eye(8), np.eye(8), np.arange(8))
    >>> found["caption of a picture, R@1"], found["chance, R@1"], found["chance, R@5"]
    (1.0, 0.125, 0.625)
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
    return {f"{name}, R@{k}": mean(scores, k) for k in (1, 5) for name, scores in named.items()}
