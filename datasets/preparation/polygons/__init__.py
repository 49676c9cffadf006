"""Turn the polygons of annotation tools into masks: LabelMe, CVAT, COCO."""
