"""Errors a user can mend. The command line prints them as one message and exits 1; everything else is our bug.

    InstSegError
    ├── UsageError         flags or options that cannot go together, or whose value cannot be
    ├── TemplateError      a template.yaml, or the work dir made from one, is wrong
    ├── DatasetError       annotations or images are wrong; nothing was started
    ├── WeightsError       a checkpoint or a download cannot be used
    │   └── DownloadError  the file could not be fetched whole and verified
    ├── TrainingError      training started and could not go on
    │   └── DiskFullError  there is no room for its files
    ├── ExportError        the network cannot be exported, or the exported one disagrees with the checkpoint
    ├── MediaError         an image, video or camera cannot be read or written
    └── MissingExtraError  the command needs packages of an extra that is not installed
"""


class InstSegError(Exception):
    """Base of all errors whose message is written for the user: what, got, expected, next step."""


class UsageError(InstSegError):
    """Flags or options cannot go together, one is missing, or a value is out of its range."""


class TemplateError(InstSegError):
    """A template.yaml or a work dir is unusable; the message lists every problem found."""


class DatasetError(InstSegError):
    """Annotations or images are unusable; raised before any model is built, with every problem found."""


class WeightsError(InstSegError):
    """A checkpoint cannot be read safely or does not fit the network."""


class DownloadError(WeightsError):
    """A file could not be downloaded whole, or its size or sha256 differs from the template's."""


class TrainingError(InstSegError):
    """Training began and had to stop."""


class DiskFullError(TrainingError):
    """No space is left for a training's files; what was saved last is whole."""


class ExportError(InstSegError):
    """The network cannot be exported, or the parity gate found a difference above its tolerance."""


class MediaError(InstSegError):
    """An image, video or camera cannot be read, or an output cannot be written."""


class MissingExtraError(InstSegError):
    """The command needs an optional part of the package.

    Args:
        extra: Name of the extra, for example ``train``.
        purpose: What the user wanted to do, for example ``Training``.
    """

    def __init__(self, extra, purpose):
        super().__init__(f"{purpose} needs packages that are not installed. Run: pip install 'instance-segmentation[{extra}]'"
                         " (in a clone: ./init_venv.sh)")
        self.extra, self.purpose = extra, purpose

    def __reduce__(self):
        return type(self), (self.extra, self.purpose)
