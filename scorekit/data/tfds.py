"""Sets of TensorFlow Datasets without TensorFlow, prepared as array_record files and read."""

from scorekit.data._tfds import builder_of, prepare, prepared, read_split
from scorekit.data._tfds.contexts import quiet_tfds, tensorflow_stand_in

__all__ = ["builder_of", "prepare", "prepared", "quiet_tfds", "read_split", "tensorflow_stand_in"]
