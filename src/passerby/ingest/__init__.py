"""Videos, camera streams and whole frames become crops of people in a gallery.

`ingest` is the door; a detector of one's own is any object that is a `Detector`.
"""

from passerby.ingest.detection import DETECTORS, Detections, Detector, open_detector
from passerby.ingest.passages import Looking
from passerby.ingest.run import Ingesting, IngestReport, crops_folder, ingest
from passerby.ingest.sources import Footage, sort_sources
from passerby.ingest.watching import Watched

__all__ = [
    "DETECTORS",
    "Detections",
    "Detector",
    "Footage",
    "IngestReport",
    "Ingesting",
    "Looking",
    "Watched",
    "crops_folder",
    "ingest",
    "open_detector",
    "sort_sources",
]
