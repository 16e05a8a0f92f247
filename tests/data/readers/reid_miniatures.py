"""Miniatures of the image re-ID sets in their real formats: empty files under real names, small lists."""

from __future__ import annotations

import numpy as np

#: Three people train; two are asked for; one is searched only; junk, a distractor, and a file that is no picture.
MARKET = {
    "bounding_box_train": ["0010_c1s1_000401_01.jpg", "0002_c1s1_000451_03.jpg", "0002_c3s2_000901_01.jpg",
                           "0007_c6s4_002426_01.jpg", "Thumbs.db"],
    "query": ["0001_c1s1_001051_00.jpg", "0003_c4s6_015641_00.jpg"],
    "bounding_box_test": ["0001_c2s1_000301_00.jpg", "0001_c1s1_001101_02.jpg", "0003_c1s6_015971_01.jpg",
                          "0004_c5s1_000951_01.jpg", "-1_c1s1_000401_03.jpg", "0000_c4s6_004485_01.jpg", "Thumbs.db"],
    "gt_bbox": ["0001_c1s1_001051_00.jpg", "0001_c1s1_001056_00.jpg", "0002_c1s1_000451_00.jpg"],
}  # fmt: skip

DUKE = {
    "bounding_box_train": ["0001_c2_f0046182.jpg", "0005_c2_f0046985.jpg"],
    "query": ["0010_c1_f0038923.jpg"],
    "bounding_box_test": ["0010_c8_f0012345.jpg", "7050_c3_f0100000.jpg"],
}

CROPPED = {
    "bounding_box_train": ["0001_c1_1.png", "0001_c2_6.png"],
    "query": ["0003_c1_21.png", "0003_c2_26.png"],
    "bounding_box_test": ["0003_c1_22.png", "0003_c2_27.png"],
}


def folders(root, content):
    """Write {folder: names} as empty files."""
    for folder, names in content.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / folder / name).write_bytes(b"")
    return root


def column(values):
    return np.asarray(values, dtype=np.float64).reshape(-1, 1)


def cells(values):
    """MATLAB's cell array: a column of anything."""
    found = np.empty((len(values), 1), dtype=object)
    for row, value in enumerate(values):
        found[row, 0] = value
    return found


def new_protocol():
    """The first 29 pictures of CUHK03's list: 1 to 20 train, of 21 to 29 three ask."""
    names = [f"1_{1 + place // 10:03d}_{1 + place % 10 // 5}_{1 + place % 10:02d}.png" for place in range(29)]
    gallery = [21, 23, 24, 25, 26, 28]
    return {
        "filelist": cells(names),
        "labels": column([1 + place // 10 for place in range(29)]),
        "camId": column([1 + place % 10 // 5 for place in range(29)]),
        "train_idx": column(range(1, 21)),
        "query_idx": column([22, 27, 29]),
        "gallery_idx": column(gallery),
    }


def extracted(root, boxes, variables):
    """The list of the new protocol with its pictures."""
    from scipy.io import savemat

    root.mkdir(parents=True, exist_ok=True)
    savemat(root / f"cuhk03_new_protocol_config_{boxes}.mat", variables)
    return folders(root, {f"images_{boxes}": [str(cell) for cell in np.ravel(new_protocol()["filelist"])]})


#: Two people train, one of them in the list of val too; ids start again in the test.
MSMT = {
    "list_train.txt": ["0000/0000_000_01_0303morning_0015_0.jpg 0", "0001/0001_000_05_0303noon_0083_1.jpg 1"],
    "list_val.txt": ["0001/0001_003_14_0303afternoon_0001_0.jpg 1"],
    "list_query.txt": ["0000/0000_000_02_0303morning_0210_0.jpg 0"],
    "list_gallery.txt": ["0000/0000_001_15_0303morning_0211_0.jpg 0", "0001/0001_000_03_0303noon_0212_0.jpg 1"],
}


def msmt(root, lists=MSMT, version=1):
    """The four lists and their pictures."""
    train, test = ("train", "test") if version == 1 else ("mask_train_v2", "mask_test_v2")
    for name, lines in lists.items():
        folder = train if name in ("list_train.txt", "list_val.txt") else test
        for line in MSMT[name]:
            path = root / folder / line.split()[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        (root / name).write_text("".join(f"{line}\n" for line in lines))
    return root


def few(monkeypatch, module, **published):
    """Hold a reader to a miniature's counts instead of the published ones."""
    for name, value in published.items():
        monkeypatch.setattr(module, name, value)
